"""GKD: reference numbers, the formula in loops, reductions, the warm-up."""

from __future__ import annotations

import math

import pytest

from crld_zoo.distillers import GKD, gkd_loss, kd_loss

from .testers import (
    check_defaults,
    check_golden_row,
    check_oracle,
    check_warmup,
    close,
    golden,
    kl,
    random_batch,
    softmax,
)

REQUIRED = dict(hcm_n=2)


@pytest.mark.parametrize('row', golden('gkd'))
def test_reference_numbers(row):
    check_golden_row(row, gkd_loss, GKD)


def grouped(student, teacher, target, alpha, beta, lambda_, temperature, hcm_n, select):
    chooser = teacher if select == 'teacher' else student
    ranked = sorted((k for k in range(len(chooser)) if k != target), key=lambda k: -chooser[k])
    primary, secondary = [target, *ranked[: hcm_n - 1]], ranked[hcm_n - 1 :]
    p_t, p_s = softmax(teacher, temperature), softmax(student, temperature)
    masses = [[math.fsum(p[k] for k in group) for group in (primary, secondary)] for p in (p_t, p_s)]
    loss = 0.0
    if secondary:
        loss += alpha * kl(*masses)
        loss += lambda_ * kl(*(softmax([row[k] for k in secondary], temperature) for row in (teacher, student)))
    loss += beta * kl(*(softmax([row[k] for k in primary], temperature) for row in (teacher, student)))
    return temperature**2 * loss


@pytest.mark.parametrize('select', ['student', 'teacher'])
@pytest.mark.parametrize('hcm_n', [1, 3, 100])
def test_formula_in_loops(hcm_n, select):
    check_oracle(gkd_loss, grouped, alpha=0.7, beta=4.0, lambda_=0.5, temperature=2.0, hcm_n=hcm_n, select=select)


def test_one_group_of_all_classes_is_kd():
    student, teacher, target = random_batch(4, 6)
    s, t = student['weak'].logits, teacher['weak'].logits
    options = dict(alpha=3.0, beta=1.0, lambda_=5.0, hcm_n=6, select='student')
    close(gkd_loss(s, t, target, temperature=3.0, **options), kd_loss(s, t, temperature=3.0))


def test_defaults_are_the_published_ones():
    options = dict(alpha=1.0, beta=8.0, lambda_=0.0, temperature=4.0, hcm_n=3, select='student')
    check_defaults(GKD(hcm_n=3), gkd_loss, **options, ce_weight=1.0, kd_weight=1.0)


def test_warmup():
    check_warmup(lambda epochs: GKD(hcm_n=3, warmup=epochs))
