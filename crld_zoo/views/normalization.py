"""From uint8 images to what a network takes."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from crld_zoo.errors import InputError

from .base import piece_size

_PIECE = 600_000  # values that the CPU works on at a time, so that they stay in its cache


def normalize(
    images: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype = torch.float32, *, channels_last: bool = False
) -> Tensor:
    """``(images - mean) / std``, channel by channel.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        mean: Mean of each channel on the scale 0 to 255, float32 with 3 elements, on the images' device.
        std: Standard deviation, likewise.
        dtype: Type of the result. The arithmetic is float32 in any case.
        channels_last: Lay the result out as convolutions on many devices prefer.

    Returns:
        ``(N, 3, H, W)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> normalize(images, torch.full((3,), 10.0), torch.full((3,), 5.0))[0, 0]
        tensor([[0., 2., 4., 6.]])
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    result = torch.empty(images.shape, dtype=torch.float32, device=images.device, memory_format=layout)
    if channels_last:  # in rows of pixels
        mean, std = (each.view(3).expand(images.shape[3], 3).flatten() for each in (mean, std))
    else:
        mean, std = mean.view(3, 1, 1), std.view(3, 1, 1)
    piece = piece_size(images, _PIECE)
    for values, place in zip(images.split(piece), result.split(piece), strict=True):
        if channels_last:  # bytes that are stacked change their layout several times as fast as floats that are copied
            values, place = torch.stack(values.unbind(1), 3).flatten(2), place.permute(0, 2, 3, 1).flatten(2)
        place.copy_(values).sub_(mean).div_(std)
    return result.to(dtype)


def check_normalization(mean: Sequence[float], std: Sequence[float], whose: str) -> None:
    """See that a normalization is three means and three standard deviations of pixels in 0-255.

    Args:
        mean: Mean of each channel.
        std: Standard deviation of each channel.
        whose: What the error calls it by.

    Raises:
        InputError: It is not, or it is on the scale 0-1.

    Example:
        >>> check_normalization((123.7, 116.3, 103.5), (58.4, 57.1, 57.4), 'the teacher')
    """
    if mean is None or std is None or len(mean) != 3 or len(std) != 3:
        raise InputError(f'mean={mean} and std={std} of {whose}: three numbers each, R, G, B')
    if not all(math.isfinite(value) for value in (*mean, *std)) or min(std) <= 0:
        raise InputError(f'mean={mean} and std={std} of {whose}: finite numbers, the std above zero')
    for name, values in (('std', std), ('mean', mean)):
        if 0 < max(values) < 1:
            raise InputError(
                f'{name}={values} of {whose} is on the scale 0-1: mean and std are of pixels in 0-255, so multiply '
                'both by 255'
            )
