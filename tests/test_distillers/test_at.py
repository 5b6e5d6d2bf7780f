"""AT: reference numbers, the formula in loops, a number by hand, zero maps, bad options."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import AT, attention_loss
from crld_zoo.errors import InputError

from .map_testers import check_row, random_maps, rows, step
from .testers import close, leaf

ALTERNATIVES = dict(teacher_taps=['stage2', 'stage3', 'stage1'])


@pytest.mark.parametrize('row', rows('at'))
def test_reference_numbers(row):
    check_row(row, attention_loss, AT, p=row['params']['p'])


def attention(feature, p):
    c, h, w = feature.shape
    values = [sum(float(feature[k, i, j]) ** p for k in range(c)) / c for i in range(h) for j in range(w)]
    length = math.sqrt(sum(value**2 for value in values))
    return [value / length for value in values]


@pytest.mark.parametrize('p', [1, 2, 3])
def test_formula_in_loops(p):
    maps_s, maps_t = random_maps((3, 2, 2, 3), (3, 4, 3, 3)), random_maps((3, 5, 2, 3), (3, 1, 3, 3), seed=1)
    expected = [
        sum(
            sum((a - b) ** 2 for a, b in zip(attention(s[n], p), attention(t[n], p), strict=True)) / s[n][0].numel()
            for s, t in zip(maps_s, maps_t, strict=True)
        )
        for n in range(3)
    ]
    close(attention_loss(maps_s, maps_t, p=p), expected, rtol=1e-10)


def test_number_by_hand():
    # Squares (9, 16)/25 is no unit vector; of (3, 4) with p = 1 it is (.6, .8), of (1, 0) itself: (.16 + .64) / 2.
    close(
        attention_loss([torch.tensor([[[[3.0, 4.0]]]]).double()], [torch.tensor([[[[1.0, 0.0]]]]).double()], p=1), [0.4]
    )


def test_zero_maps_have_gradient_0():
    maps = leaf(torch.zeros(2, 3, 2, 2))
    attention_loss([maps], random_maps((2, 3, 2, 2)), p=1).sum().backward()
    assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_a_larger_map_is_averaged():
    (large,), (small,) = random_maps((2, 3, 4, 4)), random_maps((2, 3, 2, 2), seed=1)
    averaged = torch.nn.functional.avg_pool2d(large, 2)
    close(attention_loss([large], [small], p=2), attention_loss([averaged], [small], p=2))
    close(attention_loss([small], [large], p=2), attention_loss([small], [averaged], p=2))


def test_defaults_are_the_published_ones():
    distiller = AT()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.p) == (1, 1000, 2)
    assert distiller.student_taps == distiller.teacher_taps == ('stage1', 'stage2', 'stage3')
    assert distiller.per_sample


@pytest.mark.parametrize('p', [0, 1.5, '2'])
def test_bad_powers_are_refused(p):
    with pytest.raises(InputError, match='whole number'):
        AT(p=p)


@pytest.mark.parametrize('method', ['AT', 'NST'])
def test_maps_of_one_position_are_refused_when_built(method):
    """All of them are equal once scaled to length 1."""
    with pytest.raises(InputError, match=f'{method} compares the positions of a map, but embedding and stage3 have'):
        step(dict(type=method, taps=['embedding'], teacher_taps=['stage3']), 'crld_zoo::resnet8', 'crld_zoo::resnet20')


def test_networks_of_two_libraries():
    _, losses = step(dict(type='AT'), 'timm::mobilenetv2_100', 'torchvision::resnet34')
    assert losses['loss_kd'] > 0
