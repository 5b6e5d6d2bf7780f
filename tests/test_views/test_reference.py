"""The Pillow way that the batched views are measured against makes the same views."""

from __future__ import annotations

from random import Random

import torch

from crld_zoo.views import Views, normalize
from crld_zoo.views.reference import CIFAR100_MEAN, CIFAR100_STD, pil_batch, pil_weak_strong

from .conftest import keys, noise, to_pil


def test_one_image():
    image = to_pil(noise(1, 32, 32)[0])
    weak, strong = pil_weak_strong(image, Random(0))
    assert weak.shape == strong.shape == (3, 32, 32) and weak.dtype == torch.float32
    again = pil_weak_strong(image, Random(0))
    assert torch.equal(weak, again[0]) and torch.equal(strong, again[1])
    assert not torch.equal(strong, pil_weak_strong(image, Random(1))[1])


def test_sizes():
    batch = pil_batch([to_pil(image) for image in noise(3, 20, 20)], Random(0), size=24, padding=2)
    assert {name: view.shape for name, view in batch.items()} == dict(weak=(3, 3, 24, 24), strong=(3, 3, 24, 24))


def test_same_statistics_as_the_batched_views():
    """Means and spreads over 3,000 views of one image, in steps of their standard error."""
    image, count = torch.zeros(3, 16, 16, dtype=torch.uint8), 3000
    image[0, 2:9], image[1, :, 4:], image[2] = 220, 90, torch.arange(0, 256, dtype=torch.uint8).view(16, 16)
    crop_flip = [dict(type='RandomCrop', size=16, padding=2), dict(type='RandomFlip')]
    views = Views(dict(weak=crop_flip, strong=[*crop_flip, dict(type='RandAugment'), dict(type='Cutout')]))
    ours = {
        name: normalize(view, torch.tensor(CIFAR100_MEAN) * 255, torch.tensor(CIFAR100_STD) * 255)
        for name, view in views(image.expand(count, 3, 16, 16), keys(count)).items()
    }
    theirs = pil_batch([to_pil(image)] * count, Random(0), size=16, padding=2)
    for name in ours:
        for measure in (
            lambda x: x.mean((2, 3)),
            lambda x: x.std((2, 3)),
            lambda x: x[..., 8, 8],
            lambda x: x[..., 0, 3],
        ):
            a, b = measure(ours[name]), measure(theirs[name])
            error = ((a.var(0) + b.var(0)) / count).sqrt()
            assert ((a.mean(0) - b.mean(0)).abs() < 4 * error + 1e-4).all(), name
