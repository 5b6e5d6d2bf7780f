"""WSLD: reference numbers, the formula in loops, a number by hand."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import WSLD, wsld_loss

from .testers import check_defaults, check_golden_row, check_oracle, close, golden, softmax

STOPPED_GRADIENT = True


@pytest.mark.parametrize('row', golden('wsld'))
def test_reference_numbers(row):
    check_golden_row(row, wsld_loss, WSLD)


def weighted(student, teacher, target, temperature, alpha):
    label_s, label_t = -math.log(softmax(student)[target]), -math.log(softmax(teacher)[target])
    weight = 1 - math.exp(-label_s / (label_t + 1e-7))
    soft = zip(softmax(teacher, temperature), softmax(student, temperature), strict=True)
    return alpha * temperature**2 * weight * -math.fsum(p * math.log(q) for p, q in soft)


@pytest.mark.parametrize('options', [dict(temperature=4.0, alpha=2.25), dict(temperature=0.8, alpha=1.0)])
def test_formula_in_loops(options):
    check_oracle(wsld_loss, weighted, **options)


def test_number_by_hand():
    """Equal and even: both cross-entropies are ln 2, the weight is 1 - 1/e."""
    even = torch.zeros(1, 2, dtype=torch.float64)
    loss = wsld_loss(even, even, torch.tensor([1]), temperature=2.0, alpha=3.0)
    close(loss, [12 * (1 - math.exp(-1)) * math.log(2)], rtol=1e-6)


def test_defaults_are_the_published_ones():
    check_defaults(WSLD(), wsld_loss, temperature=4.0, alpha=2.25, ce_weight=1.0, kd_weight=1.0)
