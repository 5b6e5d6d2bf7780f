"""LDRLD: reference numbers, the formula in loops, bad input."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import LDRLD, ldrld_loss
from crld_zoo.errors import InputError

from .testers import check_defaults, check_golden_row, close, golden, kl, random_batch, softmax

REQUIRED = dict(k=2)


@pytest.mark.parametrize('row', golden('ldrld'))
def test_reference_numbers(row):
    check_golden_row(row, ldrld_loss, LDRLD)


def local(student, teacher, alpha, beta, k, temperature):
    ranked = sorted(range(len(student)), key=lambda c: -student[c])

    def among(classes):
        return kl(*(softmax([row[c] for c in classes], temperature) for row in (teacher, student))) if classes else 0

    value = among(ranked[:k])
    for i in range(1, k + 1):
        for j in range(i + 1, k + 1):
            weight = 2 * math.exp(-0.05 * (i + j)) / (1.5 + j - i)
            value += weight * among([ranked[i - 1], ranked[j - 1]])
    return temperature**2 * (alpha * value / (k * (k - 1) / 2 + 1) + beta * among(ranked[k:]))


@pytest.mark.parametrize('k', [2, 4, 6])
def test_formula_in_loops(k):
    student, teacher, _ = random_batch(4, 6)
    s, t = student['weak'].logits, teacher['weak'].logits
    options = dict(alpha=3.0, beta=2.0, k=k, temperature=2.0)
    close(ldrld_loss(s, t, **options), [local(a, b, **options) for a, b in zip(s.tolist(), t.tolist(), strict=True)])


def test_more_highest_classes_than_classes_are_refused():
    with pytest.raises(InputError, match='k=7 highest classes, but there are 5: lower k'):
        ldrld_loss(torch.zeros(1, 5), torch.zeros(1, 5), alpha=1.0, beta=1.0, k=7, temperature=1.0)


def test_defaults():
    check_defaults(LDRLD(k=3), ldrld_loss, alpha=10.5, beta=7.0, k=3, temperature=4.0, ce_weight=1.0, kd_weight=1.0)
