"""CMKD: the formula in loops, numbers by hand, the rank for a small temperature, what it does not see."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import CMKD, cmkd_loss
from crld_zoo.distillers.logits.cmkd import soft_rank
from crld_zoo.errors import InputError

from .testers import check_defaults, check_oracle, close, random_batch, softmax

OPTIONS = dict(pearson_weight=1.0, spearman_weight=1.0, rank_temperature=0.1, weighting='constant')


def correlation(x, y):
    x, y = ([value - sum(row) / len(row) for value in row] for row in (x, y))
    norms = [math.sqrt(sum(value**2 for value in row)) for row in (x, y)]
    return sum(a * b for a, b in zip(x, y, strict=True)) / (norms[0] * norms[1] + 1e-8)


def standardized(row):
    mean = sum(row) / len(row)
    spread = math.sqrt(sum((value - mean) ** 2 for value in row) / (len(row) - 1))
    return [(value - mean) / (spread + 1e-7) for value in row]


def ranks(row, temperature):
    return [0.5 + sum(1 / (1 + math.exp(-(x - y) / temperature)) for y in row) for x in row]


def correlated(student, teacher, target, pearson_weight, spearman_weight, rank_temperature, weighting):
    scaled = [standardized(row) for row in (student, teacher)]
    by_value, by_rank = 1 - correlation(*scaled), 1 - correlation(*(ranks(row, rank_temperature) for row in scaled))
    if weighting == 'entropy':
        h = -sum(p * math.log(p) for p in softmax(teacher)) / math.log(len(teacher))
        by_value, by_rank = 2 * (1 - h) * by_value, 2 * h * by_rank
    return pearson_weight * by_value + spearman_weight * by_rank


@pytest.mark.parametrize('weighting', ['constant', 'entropy'])
def test_formula_in_loops(weighting):
    check_oracle(
        cmkd_loss, correlated, pearson_weight=2.0, spearman_weight=3.0, rank_temperature=0.3, weighting=weighting
    )


def test_numbers_by_hand():
    """Values (1, 2, 6) against (1, 6, 2): pearson -2/14, ranks (1, 2, 3) against (1, 3, 2): spearman 1/2."""
    student, teacher = torch.tensor([[1.0, 2, 6]]).double(), torch.tensor([[1.0, 6, 2]]).double()
    exact = OPTIONS | dict(rank_temperature=1e-3)
    close(cmkd_loss(student, teacher, **exact | dict(spearman_weight=0.0)), [16 / 14], rtol=1e-6)
    close(cmkd_loss(student, teacher, **exact | dict(pearson_weight=0.0)), [0.5], rtol=1e-6)
    close(cmkd_loss(student, teacher, **exact), [16 / 14 + 0.5], rtol=1e-6)


def test_soft_ranks_become_ranks():
    student, _, _ = random_batch(5, 7)
    values = student['weak'].logits.detach()
    close(soft_rank(values, temperature=1e-4), values.argsort(1).argsort(1).double() + 1, rtol=1e-6)
    close(soft_rank(torch.zeros(1, 4).double(), temperature=0.1), [[2.5] * 4])


def test_neither_scale_nor_shift_of_the_logits_counts():
    student, teacher, _ = random_batch(5, 7)
    s, t = student['weak'].logits, teacher['weak'].logits
    close(cmkd_loss(3 * s - 2, 5 * t + 1, **OPTIONS), cmkd_loss(s, t, **OPTIONS), rtol=1e-5)
    assert cmkd_loss(t, t, **OPTIONS).abs().max() < 1e-6


def test_defaults():
    check_defaults(CMKD(), cmkd_loss, **OPTIONS, ce_weight=1.0, kd_weight=1.0)


def test_impossible_options():
    with pytest.raises(InputError, match="CMKD: weighting must be 'constant' or 'entropy', not 'hard'"):
        CMKD(weighting='hard')
    with pytest.raises(InputError, match='CMKD: rank_temperature must be a number above 0, not 0'):
        CMKD(rank_temperature=0)
