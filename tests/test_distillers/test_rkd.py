"""RKD: reference numbers, the formula in loops, a number by hand, equal samples, a batch of one."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import RKD, rkd_loss
from crld_zoo.errors import InputError

from .map_testers import check_row, random_maps, rows
from .testers import close

ALTERNATIVES = dict(eps=9.0, taps=['stage2'], teacher_taps=['stage2'])
WEIGHTS = dict(distance_weight=25.0, angle_weight=50.0)


@pytest.mark.parametrize('row', rows('rkd'))
def test_reference_numbers(row):
    options = {name: row['params'][name] for name in ('distance_weight', 'angle_weight', 'eps')}
    check_row(row, rkd_loss, RKD, **options)


def relations(embedding):
    """Distances over their mean, and cosines, of all pairs and triples."""
    samples = embedding.tolist()

    def minus(x, y):
        return [a - b for a, b in zip(x, y, strict=True)]

    def length(x):
        return math.sqrt(sum(value**2 for value in x))

    distances = [length(minus(x, y)) for x in samples for y in samples]
    mean = sum(distances) / sum(value > 0 for value in distances)
    angles = []
    for x in samples:
        for y in samples:
            for z in samples:
                one, other = minus(y, x), minus(z, x)
                product = length(one) * length(other)
                angles.append(sum(a * b for a, b in zip(one, other, strict=True)) / product if product else 0.0)
    return [value / mean for value in distances], angles


def huber(gap):
    return gap**2 / 2 if abs(gap) < 1 else abs(gap) - 0.5


def test_formula_in_loops():
    student, teacher = random_maps((4, 3), (4, 5))
    expected = 0
    for weight, one, other in zip((25, 50), relations(student), relations(3 * teacher), strict=True):
        expected += weight * sum(huber(a - b) for a, b in zip(one, other, strict=True)) / len(one)
    close(rkd_loss(student, teacher, **WEIGHTS, eps=1e-12), [expected] * 4, rtol=1e-10)


def test_number_by_hand():
    # On a line at 0, 1, 3: distances 1, 3, 2, over their mean 2. Equidistant teacher: 1. Gaps of 1/2, 1/2, 0, twice.
    line = torch.tensor([[0.0, 0], [1, 0], [3, 0]]).double()
    equal = torch.tensor([[0.0, 0], [1, 0], [0.5, math.sqrt(0.75)]], dtype=torch.float64)
    close(rkd_loss(line, equal, distance_weight=1.0, angle_weight=0.0, eps=1e-12), [4 * 0.5**2 / 2 / 9] * 3)
    # The cosines of the triples of three samples: 1, -1 and 1 at their places, against 1/2, at two orders each.
    close(rkd_loss(line, equal, distance_weight=0.0, angle_weight=1.0, eps=1e-12), [2 * (0.125 + 1 + 0.125) / 27] * 3)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('equal', [slice(0, 2), slice(None)], ids=['two', 'all'])
def test_equal_samples_have_a_finite_gradient(dtype, equal):
    """The published code has one of the order of 1e12 there."""
    (student,) = random_maps((4, 5))
    student[equal] = student[0].clone()
    student = student.to(dtype).requires_grad_()
    loss = rkd_loss(student, random_maps((4, 5), seed=1)[0].to(dtype), **WEIGHTS, eps=1e-12)
    loss.mean().backward()
    assert loss.isfinite().all()
    assert student.grad.abs().max() < 100


def test_a_batch_of_one_is_refused():
    with pytest.raises(InputError, match='two or more'):
        rkd_loss(torch.ones(1, 4), torch.ones(1, 4), **WEIGHTS, eps=1e-12)


def test_defaults_are_the_published_ones():
    distiller = RKD()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.eps) == (1, 1, 1e-12)
    assert (distiller.distance_weight, distiller.angle_weight) == (25, 50)
    assert distiller.student_taps == distiller.teacher_taps == ('embedding',)
    assert not distiller.per_sample
