"""Each operation against Pillow on the same parameters."""

from __future__ import annotations

import random

import pytest
import torch

from crld_zoo import views
from crld_zoo.views.reference import PIL_OPERATIONS, pil_cutout

from .conftest import from_pil, keys, synthetic_images, to_pil

# name: (batched function, magnitudes from, to, further ones beyond that range), ranges as CRLD's paper has them
POOL = dict(
    AutoContrast=(lambda images, _: views.autocontrast(images), 0, 1, []),
    Brightness=(views.brightness, 0.05, 0.95, [0, 0.5, 1, 1.7]),
    Color=(views.color, 0.05, 0.95, [0, 0.5, 1, 1.7]),
    Contrast=(views.contrast, 0.05, 0.95, [0, 0.5, 1, 1.7]),
    Equalize=(lambda images, _: views.equalize(images), 0, 1, []),
    Identity=(lambda images, magnitude: views.Identity().at(images, magnitude), 0, 1, []),
    Posterize=(views.posterize, 4, 8, [1, 2, 3]),
    Rotate=(views.rotate, -30, 30, [0, 45, 60, 90, -90, 135, 180, 270, 360]),
    Sharpness=(views.sharpness, 0.05, 0.95, [0, 0.5, 1, 1.7]),
    ShearX=(views.shear_x, -0.3, 0.3, [0, 0.5, -0.5, 1, -1]),
    ShearY=(views.shear_y, -0.3, 0.3, [0, 0.5, -0.5, 1, -1]),
    Solarize=(views.solarize, 0, 256, [128, 255, 255.5, 0.5]),
    TranslateX=(views.translate_x, -0.3, 0.3, [0, 0.5 / 32, -0.5 / 32, 1.5 / 32, 1, -1]),
    TranslateY=(views.translate_y, -0.3, 0.3, [0, 0.5 / 32, -0.5 / 32, 1.5 / 32, 1, -1]),
)


def assert_same(name: str, images: torch.Tensor, magnitudes: torch.Tensor) -> None:
    before = images.clone()
    result = POOL[name][0](images, magnitudes)
    assert result.dtype == torch.uint8
    assert torch.equal(images, before), 'the input was changed in place'
    expected = torch.stack(
        [
            from_pil(PIL_OPERATIONS[name](to_pil(image), magnitude))
            for image, magnitude in zip(images, magnitudes.tolist(), strict=True)
        ]
    )
    different = (result != expected).any(1)
    if name == 'Rotate':  # the mathematical library's sine may differ from Pillow's in the last bit
        assert different.float().mean() <= 1e-4
    else:
        assert not different.any(), f'{different.sum()} pixels differ'


@pytest.mark.parametrize('kind', synthetic_images())
@pytest.mark.parametrize('name', POOL)
def test_whole_range(name, kind):
    _, low, high, further = POOL[name]
    magnitudes = torch.cat(
        [torch.linspace(low, high, 33, dtype=torch.float64), torch.tensor(further, dtype=torch.float64)]
    )
    image = synthetic_images()[kind]
    assert_same(name, image.expand(len(magnitudes), *image.shape), magnitudes)


@pytest.mark.data
@pytest.mark.parametrize('name', POOL)
def test_real_images(name, real_images):
    _, low, high, _ = POOL[name]
    for _ in range(2):
        assert_same(name, real_images, low + (high - low) * torch.rand(len(real_images), dtype=torch.float64))


def test_pool_is_complete():
    assert set(POOL) == set(PIL_OPERATIONS) == set(views.FIXMATCH_POOL)


@pytest.mark.parametrize(('height', 'width'), [(32, 32), (20, 33), (1, 5)])
def test_cutout(height, width):
    images = torch.randint(0, 256, (400, 3, height, width), dtype=torch.uint8)
    share = torch.rand(400, dtype=torch.float64) * 0.5
    share[:4] = torch.tensor([0, 0.5, 1, 1e-9])
    x, y = torch.rand(400, dtype=torch.float64) * width, torch.rand(400, dtype=torch.float64) * height
    x[4:8], y[6:10] = 0, 0
    result = views.cutout(images, share, x, y)
    expected = torch.stack(
        [
            from_pil(pil_cutout(to_pil(image), *place))
            for image, *place in zip(images, share.tolist(), x.tolist(), y.tolist(), strict=True)
        ]
    )
    assert torch.equal(result, expected)
    assert torch.equal(result[0], images[0])
    assert not torch.equal(views.cutout(images, share, x, y, (1, 2, 3)), result)


def test_cutout_by_hand():
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    at = torch.tensor([1.2], dtype=torch.float64)
    result = views.cutout(images, torch.tensor([0.25], dtype=torch.float64), at, at + 1.7, (9, 8, 7))
    # A side of 1 from column floor(1.2 - 0.5) = 0 to 1, from row floor(2.9 - 0.5) = 2 to 3, both included
    assert result[0].tolist() == [[[0] * 4, [0] * 4, [c, c, 0, 0], [c, c, 0, 0]] for c in (9, 8, 7)]


def test_crop_and_flip():
    images = torch.randint(0, 256, (60, 3, 20, 33), dtype=torch.uint8)
    top, left = torch.randint(0, 7, (60,)), torch.randint(0, 12, (60,))
    chosen = torch.rand(60) < 0.5
    assert 0 < chosen.sum() < 60
    result = views.flip(views.crop(images, top, left, (20, 28), padding=3), chosen)
    for image, y, x, mirror, got in zip(images, top.tolist(), left.tolist(), chosen.tolist(), result, strict=True):
        expected = torch.nn.functional.pad(image, (3, 3, 3, 3))[:, y : y + 20, x : x + 28]
        assert torch.equal(got, expected.flip(2) if mirror else expected)


def test_crop_of_a_slice():
    images = torch.randint(0, 256, (8, 3, 6, 6), dtype=torch.uint8)
    zero = torch.zeros(3, dtype=torch.int64)
    assert torch.equal(views.crop(images[5:], zero + 1, zero + 2, (4, 4)), images[5:, :, 1:5, 2:6])


def test_whole_strong_view():
    """Crop, flip, two operations and Cutout, image by image with Pillow, from the same uniform numbers."""
    steps = [
        dict(type='RandomCrop', size=32, padding=4),
        dict(type='RandomFlip'),
        dict(type='RandAugment'),
        dict(type='Cutout'),
    ]
    composed = views.Views(dict(strong=steps))
    images = torch.randint(0, 256, (300, 3, 32, 32), dtype=torch.uint8)
    result = composed(images, keys(300))['strong']
    crop, flip, augment, cutout = (
        numbers.tolist() for numbers in views.uniform(keys(300), dict(strong=10))['strong'].split([2, 1, 4, 3])
    )
    pool = composed.pipelines[0][2].pool
    for index, image in enumerate(images):
        top, left = int(crop[0][index] * 9), int(crop[1][index] * 9)
        image = torch.nn.functional.pad(image, (4, 4, 4, 4))[:, top : top + 32, left : left + 32]
        picture = to_pil(image.flip(2) if flip[0][index] < 0.5 else image)
        for choice, position in ((augment[0], augment[2]), (augment[1], augment[3])):
            name = type(pool[int(choice[index] * 14)]).__name__
            _, low, high, _ = POOL[name]
            picture = PIL_OPERATIONS[name](picture, low + (high - low) * position[index])
        picture = pil_cutout(picture, cutout[0][index] * 0.5, cutout[1][index] * 32, cutout[2][index] * 32)
        assert torch.equal(result[index], from_pil(picture)), f'image {index}'


def test_affine_maps_beyond_the_pool():
    random.seed(0)
    image = torch.randint(0, 256, (3, 24, 31), dtype=torch.uint8)
    matrices = [[random.uniform(-2, 2), random.uniform(0.1, 2), random.uniform(-30, 30)] * 2 for _ in range(50)]
    result = views.affine(image.expand(50, 3, 24, 31), torch.tensor(matrices, dtype=torch.float64))
    for matrix, got in zip(matrices, result, strict=True):
        expected = to_pil(image).transform((31, 24), 0, matrix)
        assert torch.equal(got, from_pil(expected))
