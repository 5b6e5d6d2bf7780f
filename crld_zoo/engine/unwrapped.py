"""The model itself, whatever wraps it."""

from __future__ import annotations

from typing import Any

from mmengine.model import is_model_wrapper


def unwrapped(model: Any) -> Any:
    """The model that a wrapper (``DistributedDataParallel``, say) holds, or the model, where nothing wraps it.

    Example:
        >>> import torch
        >>> unwrapped(torch.nn.Identity())
        Identity()
    """
    return model.module if is_model_wrapper(model) else model
