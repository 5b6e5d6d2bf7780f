"""DKD: reference numbers, the formula in loops, a number by hand, reductions to KD, the warm-up."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import DKD, dkd_loss, kd_loss

from .testers import (
    check_defaults,
    check_golden_row,
    check_oracle,
    check_warmup,
    close,
    golden,
    kl,
    logits_of,
    others,
    random_batch,
    softmax,
)


@pytest.mark.parametrize('row', golden('dkd'))
def test_reference_numbers(row):
    check_golden_row(row, dkd_loss, DKD)


def decoupled(student, teacher, target, alpha, beta, temperature):
    p_s, p_t = softmax(student, temperature), softmax(teacher, temperature)
    target_term = kl([p_t[target], 1 - p_t[target]], [p_s[target], 1 - p_s[target]])
    other_term = kl(softmax(others(teacher, target), temperature), softmax(others(student, target), temperature))
    return temperature**2 * (alpha * target_term + beta * other_term)


@pytest.mark.parametrize(
    'options',
    [
        dict(alpha=1.0, beta=8.0, temperature=4.0),
        dict(alpha=0.3, beta=0.0, temperature=1.0),
        dict(alpha=0.0, beta=2.5, temperature=0.7),
    ],
)
def test_formula_in_loops(options):
    check_oracle(dkd_loss, decoupled, **options)


def test_number_by_hand():
    # T = 1, y = 0, p_t = (1/2, 1/4, 1/4), p_s = (1/4, 1/4, 1/2).
    # b_t = (1/2, 1/2), b_s = (1/4, 3/4):  1/2 ln 2 + 1/2 ln 2/3 = 1/2 ln 4/3.
    # q_t = (1/2, 1/2), q_s = (1/3, 2/3):  1/2 ln 3/2 + 1/2 ln 3/4 = 1/2 ln 9/8.
    loss = dkd_loss(
        logits_of([1 / 4, 1 / 4, 1 / 2]),
        logits_of([1 / 2, 1 / 4, 1 / 4]),
        torch.tensor([0]),
        alpha=3.0,
        beta=8.0,
        temperature=1.0,
    )
    close(loss, [3 / 2 * math.log(4 / 3) + 4 * math.log(9 / 8)])


def test_defaults_are_the_published_ones():
    check_defaults(DKD(), dkd_loss, alpha=1.0, beta=8.0, temperature=4.0, ce_weight=1.0, kd_weight=1.0)


def test_two_classes_leave_kd():
    """With one other class, its softmax is 1 for both networks: beta means nothing and alpha scales KD."""
    student, teacher, target = random_batch(6, 2)
    s, t = student['weak'].logits, teacher['weak'].logits
    close(dkd_loss(s, t, target, alpha=2.0, beta=100.0, temperature=3.0), 2 * kd_loss(s, t, temperature=3.0))


def test_other_classes_alone_are_kd_without_the_target():
    student, teacher, _ = random_batch(6, 5)
    s, t = student['weak'].logits, teacher['weak'].logits
    target = torch.full((6,), 4)
    close(dkd_loss(s, t, target, alpha=0.0, beta=1.0, temperature=3.0), kd_loss(s[:, :4], t[:, :4], temperature=3.0))


def test_warmup():
    check_warmup(lambda warmup: DKD(warmup=warmup))
