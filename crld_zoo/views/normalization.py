"""From uint8 images to what a network takes."""

from __future__ import annotations

import torch
from torch import Tensor


def normalize(images: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype = torch.float32, *,
              channels_last: bool = False) -> Tensor:
    """``(images - mean) / std``, channel by channel.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        mean: Mean of each channel on the scale 0 to 255, float32 with 3 elements, on the images' device.
        std: Standard deviation, likewise.
        dtype: Type of the result. The arithmetic is float32 in any case.
        channels_last: Lay the result out as convolutions on many devices prefer.

    Returns:
        ``(N, 3, H, W)``.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    values = images.to(torch.float32, memory_format=layout)
    return values.sub_(mean.view(3, 1, 1)).div_(std.view(3, 1, 1)).to(dtype)
