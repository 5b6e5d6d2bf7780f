"""Images for the view tests."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from crld_zoo.views import SampleKeys


def to_pil(image: Tensor) -> Image.Image:
    """``(3, H, W)`` as Pillow has it."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().numpy())


def from_pil(image: Image.Image) -> Tensor:
    """The reverse of :func:`to_pil`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def noise(count: int, height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (count, 3, height, width), dtype=torch.uint8)


def draw(operation, images: Tensor, seed: int | None = None) -> Tensor:
    """Uniform numbers for an operation."""
    generator = None if seed is None else torch.Generator().manual_seed(seed)
    return torch.rand(operation.draws, len(images), dtype=torch.float64, generator=generator)


def keys(count: int = 50, seed: int = 0, epoch: int = 0, first: int = 0) -> SampleKeys:
    """Of so many samples from a number on."""
    return SampleKeys(seed, epoch, torch.arange(first, first + count), torch.zeros(count, dtype=torch.long))


def synthetic_images() -> dict[str, Tensor]:
    """Images that find the corners of each operation, by what they are."""
    torch.manual_seed(0)
    ramp = torch.arange(32, dtype=torch.uint8) * 8
    flat = torch.zeros(3, 32, 32, dtype=torch.uint8)
    two_values = (noise(1, 32, 32)[0] > 127) * torch.tensor(255, dtype=torch.uint8)
    lonely = flat + 200
    lonely[:, 5, 7] = 3
    dim = noise(1, 32, 32)[0] // 64 + 100
    one_channel = flat.clone()
    one_channel[1] = noise(1, 32, 32)[0, 0]
    return dict(
        noise=noise(1, 32, 32)[0],
        black=flat,
        white=flat + 255,
        gray=flat + 128,
        orange=torch.tensor([250, 130, 7], dtype=torch.uint8).view(3, 1, 1).expand(3, 32, 32),
        gradient=torch.stack([ramp.expand(32, 32), ramp.view(32, 1).expand(32, 32), ramp.flip(0).expand(32, 32)]),
        two_values=two_values,
        one_different_pixel=lonely,
        four_close_values=dim,
        one_channel=one_channel,
        wide=noise(1, 20, 33)[0],
        tall=noise(1, 41, 18)[0],
        large=noise(1, 224, 224)[0],
        one_pixel=noise(1, 1, 1)[0],
        two_pixels=noise(1, 2, 2)[0],
        three_pixels=noise(1, 3, 3)[0],
        row=noise(1, 1, 40)[0],
        column=noise(1, 40, 2)[0],
    )


@pytest.fixture(scope='session')
def real_images(shared) -> Tensor:
    """1,000 images of CIFAR-100, ``(1000, 3, 32, 32)``."""
    spec = importlib.util.spec_from_file_location('kdpack', shared / 'data' / 'kdpack.py')
    reader = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(reader)
    images = reader.load_mosaic(str(shared / 'data' / 'cifar100_test1000.zip'))['x_test']
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
