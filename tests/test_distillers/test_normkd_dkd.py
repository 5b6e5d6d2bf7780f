"""NormKD + DKD: reference numbers, the formula in loops, a number by hand, reductions, the warm-up."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import DKD, NormKD, dkd_loss, normkd_dkd_loss, normkd_loss

from .testers import (
    check_defaults,
    check_golden_row,
    check_oracle,
    check_warmup,
    close,
    golden,
    kl,
    others,
    random_batch,
    softmax,
    spread,
)


def norm_dkd(temperature_norm=2.0, **options):
    return NormKD(DKD(**options), temperature_norm)


@pytest.mark.parametrize('row', golden('normkd_dkd'))
def test_reference_numbers(row):
    check_golden_row(row, normkd_dkd_loss, norm_dkd)


def decoupled(student, teacher, target, alpha, beta, temperature_norm):
    tau_s, tau_t = temperature_norm * spread(student), temperature_norm * spread(teacher)
    p_s, p_t = softmax(student, tau_s), softmax(teacher, tau_t)
    target_term = kl([p_t[target], 1 - p_t[target]], [p_s[target], 1 - p_s[target]])
    other_term = kl(softmax(others(teacher, target), tau_t), softmax(others(student, target), tau_s))
    return tau_t**2 * (alpha * target_term + beta * other_term)


@pytest.mark.parametrize(
    'options',
    [
        dict(alpha=1.0, beta=8.0, temperature_norm=2.0),
        dict(alpha=0.3, beta=0.0, temperature_norm=1.0),
        dict(alpha=0.0, beta=2.5, temperature_norm=0.7),
    ],
)
def test_formula_in_loops(options):
    check_oracle(normkd_dkd_loss, decoupled, **options)


def test_number_by_hand():
    # (1, 0, -1) has the unbiased std 1, (3, 0, -3) has 3: with temperature_norm = 1 both scale to (1, 0, -1), the
    # student's (-1, 0, 1) stays, and tau_t = 3. y = 1, the middle: both target probabilities are equal, no target term.
    # q_t = softmax(1, -1) = (q, 1 - q), q_s = softmax(-1, 1): logs differ by (2, -2), KL = 2 (2 q - 1) = 2 tanh 1.
    loss = normkd_dkd_loss(
        torch.tensor([[-1.0, 0.0, 1.0]]).double(),
        torch.tensor([[3.0, 0.0, -3.0]]).double(),
        torch.tensor([1]),
        alpha=5.0,
        beta=0.5,
        temperature_norm=1.0,
    )
    close(loss, [9 * math.tanh(1)])


def test_defaults_are_the_published_ones():
    check_defaults(norm_dkd(), normkd_dkd_loss, alpha=1.0, beta=8.0, temperature_norm=2.0, ce_weight=1.0, kd_weight=1.0)


def test_equal_spreads_leave_dkd():
    student, teacher, target = random_batch(6, 5)
    s, t = (2 * p['weak'].logits.detach() / p['weak'].logits.detach().std(1, keepdim=True) for p in (student, teacher))
    close(
        normkd_dkd_loss(s, t, target, alpha=1.0, beta=8.0, temperature_norm=1.5),
        dkd_loss(s, t, target, alpha=1.0, beta=8.0, temperature=3.0),
    )


def test_two_classes_leave_normkd():
    student, teacher, target = random_batch(6, 2)
    s, t = student['weak'].logits, teacher['weak'].logits
    close(
        normkd_dkd_loss(s, t, target, alpha=1.0, beta=100.0, temperature_norm=2.0),
        normkd_loss(s, t, temperature_norm=2.0),
    )


def test_warmup():
    check_warmup(lambda warmup: norm_dkd(warmup=warmup))
