"""KD: reference numbers, the formula in loops, a number by hand, the identity that DKD decouples."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import KD, kd_loss
from crld_zoo.distillers.logits.dkd import decoupled_divergences

from .testers import (
    check_defaults,
    check_golden_row,
    check_oracle,
    close,
    golden,
    kl,
    logits_of,
    random_batch,
    softmax,
)


@pytest.mark.parametrize('row', golden('kd'))
def test_reference_numbers(row):
    check_golden_row(row, kd_loss, KD)


@pytest.mark.parametrize('row', golden('function_matching_kl'))
def test_reference_numbers_of_function_matching(row):
    check_golden_row(row, kd_loss, KD)


@pytest.mark.parametrize('temperature', [0.5, 1.0, 4.0])
def test_formula_in_loops(temperature):
    def oracle(student, teacher, _, temperature):
        return temperature**2 * kl(softmax(teacher, temperature), softmax(student, temperature))

    check_oracle(kd_loss, oracle, temperature=temperature)


def test_number_by_hand():
    # T = 1, p_t = (1/2, 1/2), p_s = (1/4, 3/4):  KL = 1/2 ln 2 + 1/2 ln 2/3 = 1/2 ln 4/3.
    student, teacher = logits_of([1 / 4, 3 / 4]), logits_of([1 / 2, 1 / 2])
    close(kd_loss(student, teacher, temperature=1.0), [math.log(4 / 3) / 2])
    # Twice the logits at T = 2 are the same probabilities, times T^2 = 4.
    close(kd_loss(2 * student, 2 * teacher, temperature=2.0), [2 * math.log(4 / 3)])


def test_defaults_are_the_published_ones():
    check_defaults(KD(), kd_loss, temperature=4.0, ce_weight=0.1, kd_weight=0.9)


def test_a_student_that_equals_its_teacher_has_no_loss_and_no_gradient():
    _, teacher, _ = random_batch(5, 6)
    student = teacher['weak'].logits.clone().requires_grad_()
    loss = kd_loss(student, teacher['weak'].logits, temperature=4.0)
    loss.sum().backward()
    close(loss, torch.zeros(5))
    close(student.grad, torch.zeros(5, 6))


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_decouples_into_target_and_other_classes(temperature):
    """``KD = T^2 (KL(b_t || b_s) + (1 - p_t[y]) KL(q_t || q_s))``, equation 5 of the DKD paper."""
    student, teacher, target = random_batch(7, 6)
    s, t = student['weak'].logits / temperature, teacher['weak'].logits / temperature
    rest = 1 - t.softmax(1)[torch.arange(7), target]
    of_target, of_rest = decoupled_divergences(s, t, target)
    decoupled = of_target + rest * of_rest
    close(kd_loss(student['weak'].logits, teacher['weak'].logits, temperature=temperature), temperature**2 * decoupled)
