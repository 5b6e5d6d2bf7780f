"""DIST: reference numbers, the formula in loops, numbers by hand, constant logits."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import DIST, dist_loss

from .testers import check_defaults, check_golden_row, close, golden, random_batch, softmax


@pytest.mark.parametrize('row', golden('dist'))
def test_reference_numbers(row):
    check_golden_row(row, dist_loss, DIST)


def correlation(x, y):
    x, y = [a - sum(x) / len(x) for a in x], [b - sum(y) / len(y) for b in y]
    product = math.fsum(a * b for a, b in zip(x, y, strict=True))
    return product / (math.sqrt(math.fsum(a * a for a in x)) * math.sqrt(math.fsum(b * b for b in y)) + 1e-8)


@pytest.mark.parametrize(('beta', 'gamma', 'tau'), [(1.0, 0.0, 1.0), (0.0, 2.0, 4.0), (0.7, 1.3, 2.0)])
def test_formula_in_loops(beta, gamma, tau):
    student, teacher, _ = random_batch(5, 4)
    s, t = student['weak'].logits, teacher['weak'].logits
    p_s, p_t = ([softmax(row, tau) for row in logits.tolist()] for logits in (s, t))
    intra = sum(1 - correlation(x, y) for x, y in zip(zip(*p_s, strict=True), zip(*p_t, strict=True), strict=True)) / 4
    expected = [tau**2 * (beta * (1 - correlation(x, y)) + gamma * intra) for x, y in zip(p_s, p_t, strict=True)]
    close(dist_loss(s, t, beta=beta, gamma=gamma, tau=tau), expected)


def test_opposed_rankings_by_hand():
    """Probabilities in reversed order correlate at -1, so the term over classes is 2."""
    logits = torch.tensor([[0.0, 1.0]], dtype=torch.float64)
    close(dist_loss(logits, -logits, beta=1.0, gamma=0.0, tau=1.0), [2.0], rtol=1e-6)


def test_defaults_are_the_published_ones():
    check_defaults(DIST(), dist_loss, beta=1.0, gamma=1.0, tau=1.0, ce_weight=1.0, kd_weight=1.0)


def test_constant_logits_have_a_finite_gradient():
    student = torch.zeros(3, 5, requires_grad=True)
    dist_loss(student, torch.randn(3, 5), beta=1.0, gamma=1.0, tau=4.0).sum().backward()
    assert student.grad.isfinite().all()
