"""CATKD: reference numbers, the formula in loops, a number by hand, networks without class maps."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import CATKD, catkd_loss
from crld_zoo.errors import InputError

from .map_testers import check_row, random_maps, rows, step
from .testers import close

ALTERNATIVES = dict(taps=['class_maps', 'class_maps:nobias'], teacher_taps=['stage1'])  # which has six channels


@pytest.mark.parametrize('row', rows('catkd'))
def test_reference_numbers(row):
    check_row(
        row, catkd_loss, CATKD, **{name: row['params'][name] for name in ('cam_resolution', 'normalize', 'binarize')}
    )


def quarters(plane, normalize):
    """A map of 4 x 4 as the means of its quarters, of length 1 where asked."""
    means = [sum(float(plane[i + a, j + b]) for a in (0, 1) for b in (0, 1)) / 4 for i in (0, 2) for j in (0, 2)]
    length = math.sqrt(sum(value**2 for value in means)) if normalize else 1
    return [value / length for value in means]


def binary(plane):
    threshold = sum(abs(value) for value in plane.flatten().tolist()) / plane.numel()
    return torch.tensor([[float(value > threshold) for value in line] for line in plane.tolist()])


@pytest.mark.parametrize('binarize', [True, False])
@pytest.mark.parametrize('normalize', [True, False])
def test_formula_in_loops(normalize, binarize):
    (maps_s,), (maps_t,) = random_maps((3, 2, 4, 4)), random_maps((3, 2, 4, 4), seed=1)
    expected = []
    for n in range(3):
        values = []
        for k in range(2):
            plane = binary(maps_t[n, k]) if binarize else maps_t[n, k]
            values += [
                (a - b) ** 2 for a, b in zip(quarters(maps_s[n, k], normalize), quarters(plane, normalize), strict=True)
            ]
        expected.append(sum(values) / len(values))
    close(
        catkd_loss([maps_s], [maps_t], cam_resolution=2, normalize=normalize, binarize=binarize), expected, rtol=1e-10
    )


def test_number_by_hand():
    # One class at two positions: means 2 and 5.
    s, t = torch.tensor([[[[1.0, 3.0]]]]).double(), torch.tensor([[[[4.0, 6.0]]]]).double()
    close(catkd_loss([s], [t], cam_resolution=1, normalize=False, binarize=False), [9.0])


def test_defaults_are_the_published_ones():
    distiller = CATKD()
    assert (distiller.ce_weight, distiller.kd_weight) == (1, 400)
    assert (distiller.cam_resolution, distiller.normalize, distiller.binarize) == (2, True, False)
    assert distiller.per_sample


def test_bad_input_ends_in_a_sentence():
    with pytest.raises(InputError, match='whole number'):
        CATKD(cam_resolution=0)
    with pytest.raises(InputError, match='samples and channels'):
        catkd_loss(
            random_maps((2, 5, 4, 4)), random_maps((2, 6, 4, 4)), cam_resolution=2, normalize=True, binarize=False
        )


def test_networks_of_two_libraries():
    _, losses = step(dict(type='CATKD'), 'timm::mobilenetv2_100', 'torchvision::resnet18')
    assert losses['loss_kd'] > 0


def test_a_transformer_has_no_class_maps():
    with pytest.raises(InputError, match='no class maps'):
        step(dict(type='CATKD'), 'timm::mobilenetv2_100', 'timm::vit_tiny_patch16_224')
