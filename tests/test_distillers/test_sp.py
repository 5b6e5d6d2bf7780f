"""SP: reference numbers, the formula in loops, a number by hand, a zero sample, a batch of one."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import SP, similarity_loss
from crld_zoo.errors import InputError

from .map_testers import check_row, random_maps, rows
from .testers import close, leaf

ALTERNATIVES = dict(teacher_taps=['stage2'])


@pytest.mark.parametrize('row', rows('sp'))
def test_reference_numbers(row):
    check_row(row, similarity_loss, SP)


def similarities(feature):
    samples = [sample.flatten().tolist() for sample in feature]
    found = []
    for one in samples:
        row = [sum(a * b for a, b in zip(one, other, strict=True)) for other in samples]
        length = math.sqrt(sum(value**2 for value in row))
        found += [value / length for value in row]
    return found


def test_formula_in_loops():
    maps_s, maps_t = random_maps((4, 2, 2, 3), (4, 4)), random_maps((4, 5, 1, 3), (4, 3), seed=1)
    expected = sum(
        sum((a - b) ** 2 for a, b in zip(similarities(s), similarities(t), strict=True)) / 16
        for s, t in zip(maps_s, maps_t, strict=True)
    )
    close(similarity_loss(maps_s, maps_t), [expected] * 4, rtol=1e-10)


def test_number_by_hand():
    # Orthogonal student: G = identity. Equal teacher: every row (1, 1)/sqrt 2. (2 (1 - r)^2 + 2 r^2) / 4 = 1 - r.
    loss = similarity_loss([torch.eye(2).double()], [torch.ones(2, 2).double()])
    close(loss, [1 - 1 / math.sqrt(2)] * 2)


def test_a_zero_sample_has_a_finite_gradient():
    maps = leaf(random_maps((3, 4, 2, 2))[0] * torch.tensor([1.0, 0.0, 1.0]).view(3, 1, 1, 1))
    similarity_loss([maps], random_maps((3, 4, 2, 2), seed=1)).mean().backward()
    assert maps.grad.abs().max() < 10


def test_a_batch_of_one_is_refused():
    with pytest.raises(InputError, match='two or more'):
        similarity_loss(random_maps((1, 4, 2, 2)), random_maps((1, 4, 2, 2)))


def test_defaults_are_the_published_ones():
    distiller = SP()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.student_taps) == (1, 3000, ('stage3',))
    assert not distiller.per_sample
