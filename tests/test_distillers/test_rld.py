"""RLD: reference numbers, the formula in loops, a number by hand, the warm-up."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import RLD, rld_loss

from .testers import check_defaults, check_golden_row, check_oracle, check_warmup, close, golden, kl, logits_of, softmax


@pytest.mark.parametrize('row', golden('rld'))
def test_reference_numbers(row):
    check_golden_row(row, rld_loss, RLD)


def refined(student, teacher, target, alpha, beta, temperature, alpha_temperature, logit_stand):
    top, own = max(softmax(teacher, alpha_temperature)), softmax(student, alpha_temperature)[target]
    below = [k for k, value in enumerate(teacher) if value < teacher[target]]
    rest = kl(*(softmax([row[k] for k in below], temperature) for row in (teacher, student))) if below else 0.0
    return alpha * alpha_temperature**2 * kl([top, 1 - top], [own, 1 - own]) + beta * temperature**2 * rest


def test_formula_in_loops():
    options = dict(alpha=1.0, beta=8.0, temperature=4.0, alpha_temperature=2.0, logit_stand=False)
    check_oracle(rld_loss, refined, **options)


def test_number_by_hand():
    """The teacher is wrong about class 1, so class 0 is compared with what the teacher's surest one has."""
    student, teacher = logits_of([1 / 2, 1 / 4, 1 / 4]), logits_of([1 / 4, 1 / 2, 1 / 4])
    options = dict(alpha=1.0, beta=8.0, temperature=1.0, alpha_temperature=1.0, logit_stand=False)
    close(rld_loss(student, teacher, torch.tensor([0]), **options), [0.0])
    close(rld_loss(student, teacher, torch.tensor([2]), **options), [math.log(4 / 3) / 2])


def test_defaults_are_the_published_ones():
    options = dict(alpha=1.0, beta=8.0, temperature=4.0, alpha_temperature=1.0, logit_stand=False)
    check_defaults(RLD(), rld_loss, **options, ce_weight=1.0, kd_weight=1.0)


def test_warmup():
    check_warmup(lambda epochs: RLD(warmup=epochs))
