"""NormKD: reference numbers, the formula in loops, a number by hand, reduction to KD, constant logits."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import KD, NormKD, kd_loss, normkd_loss

from .testers import (
    check_defaults,
    check_golden_row,
    check_oracle,
    close,
    golden,
    kl,
    random_batch,
    softmax,
    spread,
)


def norm_kd(temperature_norm=2.0, **options):
    return NormKD(KD(**options), temperature_norm)


@pytest.mark.parametrize('row', golden('normkd'))
def test_reference_numbers(row):
    check_golden_row(row, normkd_loss, norm_kd)


@pytest.mark.parametrize('temperature_norm', [0.5, 1.0, 2.0])
def test_formula_in_loops(temperature_norm):
    def oracle(student, teacher, _, temperature_norm):
        tau_s, tau_t = temperature_norm * spread(student), temperature_norm * spread(teacher)
        return tau_t**2 * kl(softmax(teacher, tau_t), softmax(student, tau_s))

    check_oracle(normkd_loss, oracle, temperature_norm=temperature_norm)


def test_number_by_hand():
    # Logits a and 0 have the unbiased std a / sqrt 2. With temperature_norm = sqrt 2: tau = a, scaled logits (1, 0).
    # p_t = softmax(1, 0) = (p, 1 - p), p_s = softmax(0, 1): log p_t - log p_s = (1, -1), so KL = 2 p - 1 = tanh 1/2.
    # Times tau_t^2 = 9.
    loss = normkd_loss(
        torch.tensor([[0.0, 5.0]]).double(), torch.tensor([[3.0, 0.0]]).double(), temperature_norm=math.sqrt(2)
    )
    close(loss, [9 * math.tanh(0.5)])


def test_defaults_are_the_published_ones():
    check_defaults(NormKD(), normkd_loss, temperature_norm=2.0, ce_weight=0.1, kd_weight=0.9)


def test_equal_spreads_leave_kd():
    """Where every row of both networks has the standard deviation 2, it is KD at ``T = 2 temperature_norm``."""
    student, teacher, _ = random_batch(6, 5)
    s, t = (2 * p['weak'].logits.detach() / p['weak'].logits.detach().std(1, keepdim=True) for p in (student, teacher))
    close(normkd_loss(s, t, temperature_norm=1.5), kd_loss(s, t, temperature=3.0))


def test_scale_of_the_student_does_not_matter():
    """So no gradient is spent on it: the gradient stands at right angles to the centered logits."""
    student, teacher, _ = random_batch(6, 5)
    s, t = student['weak'].logits, teacher['weak'].logits
    loss = normkd_loss(s, t, temperature_norm=2.0)
    close(normkd_loss(7 * s, t, temperature_norm=2.0), loss)
    loss.sum().backward()
    close((s.grad * s).sum(1), torch.zeros(6))


@pytest.mark.parametrize('value', [0.0, 0.1, -37.3])
def test_constant_student_learns_at_an_ordinary_rate(value):
    """A head that starts at zero (mmpretrain's vision transformers) has no spread to divide by."""
    _, teacher, _ = random_batch(6, 5)
    student = torch.full((6, 5), value, requires_grad=True)
    loss = normkd_loss(student, teacher['weak'].logits.float(), temperature_norm=2.0)
    loss.sum().backward()
    tau_t = 2 * teacher['weak'].logits.std(1, keepdim=True)
    # the gradient of T^2 KL with the student at temperature 1: tau_t^2 (p_s - p_t)
    expected = tau_t**2 * (1 / 5 - (teacher['weak'].logits / tau_t).softmax(1))
    torch.testing.assert_close(student.grad, expected.float(), rtol=1e-4, atol=1e-4)
