"""LogitMSE: reference numbers, the mean of squares, its relation to KD."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import KD, LogitMSE, kd_loss, logit_mse_loss

from .testers import (
    _views,
    check_defaults,
    check_golden_row,
    check_oracle,
    close,
    golden,
    leaf,
    random_batch,
    total,
)

WHERE = dict.fromkeys(('label_smoothing', 'class_weight', 'bce', 'bce_threshold'), dict(ce_weight=1.0))


@pytest.mark.parametrize('row', golden('logit_mse'))
def test_reference_numbers(row):
    check_golden_row(row, logit_mse_loss, LogitMSE)


@pytest.mark.parametrize('row', golden('kl_mse_paper_total'))
def test_the_papers_total_is_kd_with_shares(row):
    alpha, temperature = row['params']['alpha'], row['params']['temperature']
    student, teacher = leaf(row['logits_student']), leaf(row['logits_teacher']).detach()
    distiller = KD(temperature=temperature, ce_weight=1 - alpha, kd_weight=alpha)
    loss = total(distiller(_views(student), _views(teacher), torch.tensor(row['target'])))
    loss.backward()
    close(loss, row['loss'])
    close(student.grad, row['grad_student'])


def test_formula_in_loops():
    check_oracle(logit_mse_loss, lambda s, t, y: math.fsum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s))


def test_number_by_hand():
    close(logit_mse_loss(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[1.0, 0.0, 6.0]])), [13 / 3])


def test_defaults_are_the_published_ones():
    check_defaults(LogitMSE(), logit_mse_loss, ce_weight=0.0, kd_weight=1.0)


def test_kd_of_a_large_temperature_is_half_of_it_without_the_means():
    student, teacher, _ = random_batch(4, 6)
    s, t = (each['weak'].logits - each['weak'].logits.mean(1, keepdim=True) for each in (student, teacher))
    close(kd_loss(s, t, temperature=1e4), logit_mse_loss(s, t) / 2, rtol=2e-3)
