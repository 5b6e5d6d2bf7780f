"""NKD: reference numbers, the formula in loops, a number by hand, the minimum at the teacher."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from crld_zoo.distillers import NKD, nkd_loss

from .testers import (
    check_defaults,
    check_golden_row,
    check_oracle,
    close,
    golden,
    logits_of,
    others,
    random_batch,
    softmax,
)


@pytest.mark.parametrize('row', golden('nkd'))
def test_reference_numbers(row):
    check_golden_row(row, nkd_loss, NKD)


def normalized(student, teacher, target, gamma, temperature):
    target_term = -softmax(teacher)[target] * math.log(softmax(student)[target])
    q_s, q_t = softmax(others(student, target), temperature), softmax(others(teacher, target), temperature)
    return target_term - gamma * temperature**2 * sum(a * math.log(b) for a, b in zip(q_t, q_s, strict=True))


@pytest.mark.parametrize(
    'options', [dict(gamma=1.5, temperature=1.0), dict(gamma=0.2, temperature=3.0), dict(gamma=0.0, temperature=0.5)]
)
def test_formula_in_loops(options):
    check_oracle(nkd_loss, normalized, **options)


def test_number_by_hand():
    # y = 0, p_t = (1/2, 1/4, 1/4), p_s = (1/4, 1/4, 1/2), T = 1.
    # Target: -1/2 ln 1/4 = ln 2.  Others: q_t = (1/2, 1/2), q_s = (1/3, 2/3): -(1/2 ln 1/3 + 1/2 ln 2/3) = 1/2 ln 9/2.
    loss = nkd_loss(
        logits_of([1 / 4, 1 / 4, 1 / 2]),
        logits_of([1 / 2, 1 / 4, 1 / 4]),
        torch.tensor([0]),
        gamma=1.5,
        temperature=1.0,
    )
    close(loss, [math.log(2) + 0.75 * math.log(9 / 2)])


def test_defaults_are_the_published_ones():
    check_defaults(NKD(), nkd_loss, gamma=1.5, temperature=1.0, ce_weight=1.0, kd_weight=1.0)


def test_a_sure_teacher_without_other_classes_leaves_cross_entropy():
    """gamma = 0 and p_t[y] = 1: the label's cross-entropy."""
    student, _, target = random_batch(6, 5)
    teacher = 500 * F.one_hot(target, 5).double()
    loss = nkd_loss(student['weak'].logits, teacher, target, gamma=0.0, temperature=1.0)
    close(loss, F.cross_entropy(student['weak'].logits, target, reduction='none'))
