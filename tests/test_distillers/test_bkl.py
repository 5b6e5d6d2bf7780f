"""BKL: reference numbers, the formula in loops, reductions to both KL divergences."""

from __future__ import annotations

import math

import pytest

from crld_zoo.distillers import BKL, bkl_loss, kd_loss

from .testers import check_defaults, check_golden_row, check_oracle, close, golden, random_batch, softmax


@pytest.mark.parametrize('row', golden('bkl'))
def test_reference_numbers(row):
    check_golden_row(row, bkl_loss, BKL)


def balanced(student, teacher, target, alpha, beta, temperature):
    value = 0.0
    for p, q in zip(softmax(teacher, temperature), softmax(student, temperature), strict=True):
        rho = (p * p + q * q) ** ((1 - beta) / 2) + 1e-12
        value += (alpha * p * math.log(p / q) + (1 - alpha) * q * math.log(q / p)) / rho
    return temperature**2 * value


@pytest.mark.parametrize(
    'options', [dict(alpha=0.5, beta=0.5, temperature=4.0), dict(alpha=0.2, beta=0.0, temperature=1.0)]
)
def test_formula_in_loops(options):
    check_oracle(bkl_loss, balanced, **options)


def test_at_beta_one_it_is_both_divergences():
    student, teacher, _ = random_batch(4, 6)
    s, t = student['weak'].logits, teacher['weak'].logits
    close(bkl_loss(s, t, alpha=1.0, beta=1.0, temperature=3.0), kd_loss(s, t, temperature=3.0))
    close(bkl_loss(s, t, alpha=0.0, beta=1.0, temperature=3.0), kd_loss(t, s.detach(), temperature=3.0))


def test_defaults():
    check_defaults(BKL(), bkl_loss, alpha=0.5, beta=0.5, temperature=4.0, ce_weight=0.1, kd_weight=0.9)
