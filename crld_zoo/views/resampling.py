"""Resizing a different window of each image to one size, with antialiasing."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from .base import as_bytes

_REACH = dict(bilinear=1.0, bicubic=2.0)


def resized_crop(
    images: Tensor,
    top: Tensor,
    left: Tensor,
    height: Tensor,
    width: Tensor,
    size: tuple[int, int],
    interpolation: str = 'bilinear',
) -> Tensor:
    """Cut a window out of each image and resize it, as ``torchvision.transforms.functional.resized_crop`` does.

    On the CPU each window goes through torchvision. On other devices that would wait for the windows' sizes, so there
    every window is resampled by the same number of taps, as many as the largest window needs. Both do what Pillow does,
    rows first and columns then, each rounded to whole values, and differ from it by one level of 255 in up to three
    values of a hundred. (Pillow 13 takes the columns first where that is less work, which shows in images of noise.)

    Args:
        images: uint8 ``(N, 3, H, W)``.
        top: First row of each window, integers ``(N,)``; likewise the other three. Windows lie inside the images.
        left: First column.
        height: Number of rows.
        width: Number of columns.
        size: Height and width of the result.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Example:
        >>> import torch
        >>> images = torch.full((1, 3, 8, 8), 7, dtype=torch.uint8)
        >>> zero, four = torch.tensor([0]), torch.tensor([4])
        >>> tuple(resized_crop(images, zero, zero, four, four, (6, 6)).shape)
        (1, 3, 6, 6)
    """
    if images.device.type == 'cpu':
        windows = torch.stack((top, left, height, width), 1).tolist()
        mode = InterpolationMode(interpolation)
        return torch.stack(
            [
                transforms.resized_crop(image, *window, list(size), mode, antialias=True)
                for image, window in zip(images, windows, strict=True)
            ]
        )
    across = resample_rows(images, left, width, size[1], interpolation)
    return resample_rows(across.mT, top, height, size[0], interpolation).mT.contiguous()


def resample_rows(images: Tensor, start: Tensor, length: Tensor, size: int, interpolation: str) -> Tensor:
    """Resample a section of every row to ``size`` pixels.

    Args:
        images: uint8 ``(N, 3, H, W)``.
        start: First pixel of each image's section, integers ``(N,)``.
        length: Number of its pixels, integers ``(N,)``.
        size: Number of pixels of the result.
        interpolation: ``'bilinear'`` or ``'bicubic'``.

    Returns:
        uint8 ``(N, 3, H, size)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> resample_rows(images, torch.tensor([0]), torch.tensor([4]), 2, 'bilinear')[0, 0]
        tensor([[17, 33]], dtype=torch.uint8)
    """
    count, _, _, width = images.shape
    reach = _REACH[interpolation]
    taps = math.ceil(reach * max(width / size, 1)) * 2 + 1
    scale = length.double().view(-1, 1, 1) / size  # input pixels for each output pixel
    stretch = scale.clamp(min=1)  # of the filter: a wider one when shrinking
    center = (torch.arange(size, dtype=torch.float64, device=images.device).view(-1, 1) + 0.5) * scale
    first = (center - reach * stretch + 0.5).floor_().clamp_(min=0)
    last = torch.minimum((center + reach * stretch + 0.5).floor_(), length.view(-1, 1, 1))
    index = first + torch.arange(taps, dtype=torch.float64, device=images.device)
    weight = _kernel(((index - center + 0.5) / stretch).abs_(), interpolation) * (index < last)
    weight = (weight / weight.sum(2, keepdim=True)).float()
    index = (index + start.view(-1, 1, 1)).long().clamp_(max=width - 1)
    result = torch.zeros((*images.shape[:3], size), device=images.device)
    for tap in range(taps):
        picked = images.gather(3, index[:, None, None, :, tap].expand(count, 3, images.shape[2], size))
        result.addcmul_(picked.float(), weight[:, None, None, :, tap])
    return as_bytes(result.add_(0.5).clamp_(0, 255))


def _kernel(distance: Tensor, interpolation: str) -> Tensor:
    """The interpolation filter at a distance in (stretched) pixels; bicubic is Keys' with a = -1/2, as in Pillow."""
    if interpolation == 'bilinear':
        return (1 - distance).clamp_(min=0)
    near = (1.5 * distance - 2.5) * distance**2 + 1
    far = ((-0.5 * distance + 2.5) * distance - 4) * distance + 2
    return torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
