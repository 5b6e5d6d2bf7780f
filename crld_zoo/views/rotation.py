"""Rotations by right angles, as self-supervised methods use them."""

from __future__ import annotations

import torch
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import ViewOperation


@VIEWS.register_module()
class Rotations(ViewOperation):
    """Each image turned by 90, 180 and 270 degrees: rows ``3 n`` to ``3 n + 2`` are of image ``n``.

    The last operation of a view, since a sample has several images behind it.
    """

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        if images.shape[2] != images.shape[3]:
            raise InputError(f'Rotations: images must be square, not {images.shape[2]}x{images.shape[3]}.')
        turned = torch.stack([images.rot90(turns, (2, 3)) for turns in (1, 2, 3)], dim=1)
        return turned.flatten(0, 1)
