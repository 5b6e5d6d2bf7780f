"""Normalization against torchvision's."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import functional as transforms

from crld_zoo.views import normalize

from .conftest import noise, to_pil

MEAN, STD = torch.tensor([129.3, 124.1, 112.4]), torch.tensor([68.2, 65.4, 70.4])


@pytest.mark.parametrize('channels_last', [False, True])
@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float32, 1e-5), (torch.bfloat16, 0.02), (torch.float16, 2e-3)])
def test_against_torchvision(dtype, tolerance, channels_last):
    images = noise(6, 9, 13)
    before = images.clone()
    result = normalize(images, MEAN, STD, dtype, channels_last=channels_last)
    expected = torch.stack(
        [transforms.normalize(transforms.to_tensor(to_pil(image)), MEAN / 255, STD / 255) for image in images]
    )
    assert result.dtype == dtype
    assert result.is_contiguous(memory_format=torch.channels_last) == channels_last
    torch.testing.assert_close(result.float(), expected, atol=tolerance, rtol=0)
    assert torch.equal(images, before)


def test_by_hand_in_any_form_of_mean():
    images = torch.tensor([10, 20, 30], dtype=torch.uint8).view(1, 3, 1, 1)
    mean, std = torch.tensor([5.0, 10.0, 15.0]), torch.tensor([1.0, 2.0, 5.0])
    for shape in (3,), (3, 1, 1), (1, 3, 1, 1):
        assert normalize(images, mean.view(shape), std.view(shape)).flatten().tolist() == [5, 5, 3]


@pytest.mark.parametrize('channels_last', [False, True])
def test_in_pieces_and_of_any_layout(channels_last, monkeypatch):
    images = noise(7, 9, 13)
    expected = (images.float() - MEAN.view(3, 1, 1)) / STD.view(3, 1, 1)
    monkeypatch.setattr('crld_zoo.views.normalization._PIECE', 2 * images[0].numel())
    for layout in images, images.contiguous(memory_format=torch.channels_last), images.mT.contiguous().mT:
        assert torch.equal(normalize(layout, MEAN, STD, channels_last=channels_last), expected)
