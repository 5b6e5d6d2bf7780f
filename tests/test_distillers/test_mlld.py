"""MLLD: reference numbers, both variants and the pair form in loops, a number by hand, reduction to KD."""

from __future__ import annotations

import math
import statistics

import pytest
import torch

from crld_zoo.distillers import MLLD, kd_loss, mlld_loss
from crld_zoo.distillers.logits.mlld import multi_level

from .testers import (
    SHAPES,
    check_golden_views,
    close,
    golden,
    kl,
    logits_of,
    random_batch,
    softmax,
)


@pytest.mark.parametrize('row', golden('mlld_reference'))
def test_reference_numbers(row):
    check_golden_views(row, MLLD(**row['params']))


def gram_rows(rows):
    """For each row, its products with all rows."""
    return [[sum(a * b for a, b in zip(one, other, strict=True)) for other in rows] for one in rows]


def transposed(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def squared_rows(ours, theirs):
    return [sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) for one, other in zip(ours, theirs, strict=True)]


def levels(student, teacher, temperature):
    """Instance level of each sample, batch level of each sample's row, class level of each class's row."""
    p_s = [softmax(row, temperature) for row in student]
    p_t = [softmax(row, temperature) for row in teacher]
    return (
        [temperature**2 * kl(t, s) for s, t in zip(p_s, p_t, strict=True)],
        squared_rows(gram_rows(p_s), gram_rows(p_t)),
        squared_rows(gram_rows(transposed(p_s)), gram_rows(transposed(p_t))),
    )


@pytest.mark.parametrize('temperatures', [(4.0, 3.0, 5.0, 2.0, 6.0), (1.0,), (0.5, 2.0)])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_pair_form_in_loops(shape, temperatures):
    student, teacher, _ = random_batch(*shape)
    s, t = student['weak'].logits, teacher['weak'].logits
    expected = [0.0] * shape[0]
    for temperature in temperatures:
        instance, batch, classes = levels(s.tolist(), t.tolist(), temperature)
        for i in range(shape[0]):
            expected[i] += instance[i] + sum(batch) / shape[0] + sum(classes) / shape[1]
    close(mlld_loss(s, t, temperatures=temperatures), expected, rtol=1e-10)


def test_number_by_hand():
    # N = 1, T = 1, p_t = (1/2, 1/2), p_s = (1/4, 3/4). Instance: 1/2 ln 4/3.
    # Batch: p_s.p_s = 10/16, p_t.p_t = 8/16, difference 1/8: 1/64.
    # Class: p_s p_s^T = (1 3; 3 9)/16, p_t p_t^T = (4 4; 4 4)/16: (9 + 1 + 1 + 25)/256, over K = 2: 9/128.
    loss = mlld_loss(logits_of([1 / 4, 3 / 4]), logits_of([1 / 2, 1 / 2]), temperatures=(1.0,))
    close(loss, [math.log(4 / 3) / 2 + 1 / 64 + 9 / 128])


def test_instance_level_is_kd():
    """The batch and class levels are the same for every sample, so differences between samples are KD's."""
    student, teacher, _ = random_batch(6, 5)
    s, t = student['weak'].logits, teacher['weak'].logits
    loss, kd = mlld_loss(s, t, temperatures=(3.0,)), kd_loss(s, t, temperature=3.0)
    close(loss - loss[0], kd - kd[0])


def native_losses(student, teacher, temperatures, variant):
    """Both variants in loops, unweighted; medians by the standard library."""
    n, k = len(teacher['weak']), len(teacher['weak'][0])
    confident = [softmax(row) for row in teacher['weak']]
    of_sample, of_class = [max(p) for p in confident], [sum(column) for column in transposed(confident)]
    keep_sample = [value <= statistics.median(of_sample) for value in of_sample]
    keep_class = [value <= statistics.median(of_class) for value in of_class]
    losses = dict(loss_kd=0.0, loss_cc=0.0, loss_bc=0.0)
    for number, temperature in enumerate(temperatures):
        weak = levels(student['weak'], teacher['weak'], temperature)
        strong = levels(student['strong'], teacher['strong'], temperature)
        if variant == 'reference':
            own = strong if number < 3 else weak  # the published code's slip at the last two temperatures
            losses['loss_kd'] += (sum(keep_sample) / n * sum(weak[0]) + sum(own[0])) / n
            losses['loss_bc'] += sum(keep_sample) / n * sum(weak[1]) / n
            losses['loss_cc'] += sum(keep_class) / k * sum(weak[2]) / k
        else:
            for name, level, keep in (
                ('loss_kd', 0, keep_sample),
                ('loss_bc', 1, keep_sample),
                ('loss_cc', 2, keep_class),
            ):
                kept = sum(value for value, kept in zip(weak[level], keep, strict=True) if kept)
                losses[name] += (kept + sum(strong[level])) / len(keep)
    return losses


@pytest.mark.parametrize('variant', ['reference', 'paper'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_native_form_in_loops(shape, variant):
    student, teacher, target = random_batch(*shape)
    losses = MLLD(temperature=4.0, variant=variant, ce_weight=0.1, kd_weight=0.9)(student, teacher, target)
    rows_s, rows_t = ({view: p.logits.tolist() for view, p in views.items()} for views in (student, teacher))
    for name, expected in native_losses(rows_s, rows_t, (4.0, 3.0, 5.0, 2.0, 6.0), variant).items():
        close(losses[name], 0.9 * expected, rtol=1e-10)
    label_loss = (
        sum(
            -math.log(softmax(rows_s[view][i])[y]) for view in ('weak', 'strong') for i, y in enumerate(target.tolist())
        )
        / shape[0]
    )
    close(losses['loss_ce'], 0.1 * label_loss)


def test_defaults_are_the_published_ones():
    batch = random_batch(6, 5)
    expected = MLLD(temperature=4.0, variant='reference', ce_weight=0.1, kd_weight=0.9)(*batch)
    torch.testing.assert_close(MLLD()(*batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('alike', [False, True])
def test_class_level_without_class_by_class_matrices(dtype, alike):
    """With many more classes than samples only N x N products are made, and the number and gradient stay."""
    generator = torch.Generator().manual_seed(0)
    s, t = (3 * torch.randn(6, 300, generator=generator, dtype=torch.float64) for _ in range(2))
    t = s + 1e-2 * t if alike else t
    s.requires_grad_()
    p_s, p_t = (s / 4).softmax(1), (t / 4).softmax(1)
    expected = (p_s.T @ p_s - p_t.T @ p_t).square().sum(1)
    (gradient,) = torch.autograd.grad(expected.mean(), s)
    student = s.detach().to(dtype).requires_grad_()
    rows = multi_level(student, t.to(dtype), (4.0,)).classes[0]
    rtol = 1e-6 if dtype == torch.float32 and not alike else 2e-4 if dtype == torch.float32 else 1e-9
    torch.testing.assert_close(rows.mean().double(), expected.mean(), rtol=rtol, atol=0)
    (actual,) = torch.autograd.grad(rows.mean(), student)
    torch.testing.assert_close(actual.double(), gradient, rtol=10 * rtol, atol=10 * rtol * float(gradient.abs().max()))
