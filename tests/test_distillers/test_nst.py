"""NST: reference numbers, the formula in loops, a number by hand, a dead channel."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import NST, nst_loss

from .map_testers import check_row, random_maps, rows
from .testers import close, leaf

ALTERNATIVES = dict(teacher_taps=['stage2', 'stage3', 'stage1'])


@pytest.mark.parametrize('row', rows('nst'))
def test_reference_numbers(row):
    """One row has a dead channel, whose gradient is exactly 0."""
    check_row(row, nst_loss, NST)


def channels(sample):
    found = []
    for channel in sample:
        values = channel.flatten().tolist()
        length = math.sqrt(sum(value**2 for value in values))
        found.append([value / length for value in values])
    return found


def kernel(one, other):
    values = [sum(a * b for a, b in zip(x, y, strict=True)) ** 2 for x in one for y in other]
    return sum(values) / len(values)


def test_formula_in_loops():
    maps_s, maps_t = random_maps((3, 2, 2, 3), (3, 4, 3, 3)), random_maps((3, 5, 2, 3), (3, 1, 3, 3), seed=1)
    expected = []
    for n in range(3):
        pairs = [(channels(s[n]), channels(t[n])) for s, t in zip(maps_s, maps_t, strict=True)]
        expected.append(sum(kernel(t, t) + kernel(s, s) - 2 * kernel(s, t) for s, t in pairs))
    close(nst_loss(maps_s, maps_t), expected, rtol=1e-10)


def test_number_by_hand():
    # One channel each, (1, 0) and (.6, .8): 1 + 1 - 2 * .36.
    close(nst_loss([torch.tensor([[[[1.0, 0.0]]]]).double()], [torch.tensor([[[[3.0, 4.0]]]]).double()]), [1.28])


def test_zero_maps_have_gradient_0():
    maps = leaf(torch.zeros(2, 3, 2, 2))
    nst_loss([maps], random_maps((2, 3, 2, 2))).sum().backward()
    assert torch.equal(maps.grad, torch.zeros_like(maps))


def test_defaults_are_the_published_ones():
    distiller = NST()
    assert (distiller.ce_weight, distiller.kd_weight) == (1, 50)
    assert distiller.student_taps == ('stage1', 'stage2', 'stage3')
    assert distiller.per_sample
