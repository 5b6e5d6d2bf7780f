"""PKT: reference numbers, the formula in loops, a number by hand, a zero embedding, a batch of one."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import PKT, pkt_loss
from crld_zoo.errors import InputError

from .map_testers import check_row, random_maps, rows
from .testers import close, leaf

ALTERNATIVES = dict(eps=0.1, taps=['stage2'], teacher_taps=['stage2'])


@pytest.mark.parametrize('row', rows('pkt'))
def test_reference_numbers(row):
    check_row(row, pkt_loss, PKT, eps=row['params']['eps'])


def test_formula_in_loops():
    eps = 1e-3

    def shares(embedding):
        samples = embedding.tolist()
        lengths = [math.sqrt(sum(value**2 for value in sample)) + eps for sample in samples]
        units = [[value / length for value in sample] for sample, length in zip(samples, lengths, strict=True)]
        similar = [[(sum(a * b for a, b in zip(x, y, strict=True)) + 1) / 2 for y in units] for x in units]
        return [value / sum(row) for row in similar for value in row]

    student, teacher = random_maps((4, 3), (4, 5))
    pairs = zip(shares(student), shares(teacher), strict=True)
    expected = sum(t * math.log((t + eps) / (s + eps)) for s, t in pairs) / 16
    close(pkt_loss(student, teacher, eps=eps), [expected] * 4, rtol=1e-10)


def test_number_by_hand():
    # Orthogonal student: shares 2/3 and 1/3. Equal teacher: 1/2. Two rows of (log 3/4 + log 3/2) / 2, over 4 pairs.
    loss = pkt_loss(torch.eye(2).double(), torch.ones(2, 2).double(), eps=1e-15)
    close(loss, [math.log(9 / 8) / 4] * 2)


def test_several_embeddings_are_summed():
    student, teacher = random_maps((4, 3), (4, 2, 2, 2)), random_maps((4, 5), (4, 3, 1, 1), seed=1)
    expected = sum(pkt_loss(s, t, eps=1e-7) for s, t in zip(student, teacher, strict=True))
    close(pkt_loss(student, teacher, eps=1e-7), expected)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_a_zero_embedding_has_a_finite_gradient(dtype):
    """The published code has NaN there."""
    (student,) = random_maps((3, 4))
    student[1] = 0
    student = student.to(dtype).requires_grad_()
    pkt_loss(student, random_maps((3, 4), seed=1)[0].to(dtype), eps=1e-7).mean().backward()
    assert not student.grad[1].any()
    assert 0 < student.grad.abs().max() < 1


def test_a_batch_of_one_is_refused():
    with pytest.raises(InputError, match='two or more'):
        pkt_loss(torch.ones(1, 4), torch.ones(1, 4), eps=1e-7)


def test_defaults_are_the_published_ones():
    distiller = PKT()
    assert (distiller.ce_weight, distiller.kd_weight, distiller.eps) == (1, 30000, 1e-7)
    assert distiller.student_taps == distiller.teacher_taps == ('embedding',)
    assert not distiller.per_sample


def test_the_teacher_is_a_constant():
    student, teacher = (leaf(maps) for maps in random_maps((3, 4), (3, 4)))
    pkt_loss(student, teacher, eps=1e-7).mean().backward()
    assert teacher.grad is None
