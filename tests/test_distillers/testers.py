"""What the tests of every distiller share: reference rows, random batches, and checks that each method runs.

The oracles are written with Python's floats and loops, from the formulas, and share nothing with the package.
"""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from crld_zoo.distillers import Distiller, PairDistiller, Prediction, Progress
from crld_zoo.errors import InputError

ROWS = json.loads((Path(__file__).parents[1] / 'data' / 'golden.json').read_text(encoding='utf-8'))
SHAPES = [(1, 2), (1, 7), (8, 2), (4, 3), (3, 50)]
"""Batches ``(N, K)`` of shapes that no reference row has."""

Row = Sequence[float]
Views = dict[str, Prediction]


def golden(method: str) -> list:
    """The reference rows of a method, as parameters of a test."""
    rows = [row for row in ROWS if row['method'] == method]
    assert rows, f'no reference row of {method}'
    return [
        pytest.param(row, id='-'.join(f'{value:g}' for value in row['params'].values()) or str(number))
        for number, row in enumerate(rows)
    ]


def close(actual: Tensor, expected: Tensor | Row | float, rtol: float = 1e-8) -> None:
    """Equality to ``rtol``; the stored gradients have 12 digits, so nothing below 1e-11 counts."""
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual.detach(), expected.detach(), rtol=rtol, atol=1e-11)


def leaf(values: Tensor | list) -> Tensor:
    """A float64 tensor that collects its gradient."""
    return torch.as_tensor(values, dtype=torch.float64).clone().requires_grad_()


def total(losses: dict[str, Tensor]) -> Tensor:
    """What MMEngine minimizes: the sum of every entry whose name contains ``loss``."""
    return sum(value for name, value in losses.items() if 'loss' in name)


def random_batch(
    n: int, k: int, *, seed: int = 0, dtype: torch.dtype = torch.float64, scale: float = 2.0
) -> tuple[Views, Views, Tensor]:
    """Predictions of both networks on both views, all four different, and targets; only the student's have a gradient.

    The teacher's scale differs between samples, so that it is sure of some and unsure of others.
    """
    generator = torch.Generator().manual_seed(1000 * n + k + seed)

    def logits(scales: Tensor) -> Tensor:
        return (scales * torch.randn(n, k, generator=generator, dtype=torch.float64)).to(dtype)

    sure = torch.linspace(0.2, 3 * scale, n, dtype=torch.float64)[:, None]
    one = torch.full((n, 1), scale, dtype=torch.float64)
    student = {view: Prediction(logits(one).requires_grad_()) for view in ('weak', 'strong')}
    teacher = {view: Prediction(logits(sure)) for view in ('weak', 'strong')}
    return student, teacher, torch.randint(k, (n,), generator=generator)


# The checks that each method's file runs.


def check_golden_row(row: dict, loss: Callable[..., Tensor], distiller: Callable[..., PairDistiller]) -> None:
    """The function and the distiller reproduce a reference row: the batch's mean and the student's gradient."""
    teacher, target = torch.tensor(row['logits_teacher'], dtype=torch.float64), torch.tensor(row['target'])
    module = begin(distiller(**row['params'], ce_weight=0, kd_weight=1), 240)
    for value in (
        lambda student: _with_target(loss)(student, teacher, target, **row['params']).mean(),
        lambda student: total(module(_views(student), _views(teacher), target)),
    ):
        student = leaf(row['logits_student'])
        result = value(student)
        result.backward()
        close(result, row['loss'])
        close(student.grad, row['grad_student'])


def check_golden_views(row: dict, distiller: Distiller) -> None:
    """A distiller of two views reproduces a reference row: every term, their total and both gradients."""
    student = {view: Prediction(leaf(row[f'student_{view}'])) for view in ('weak', 'strong')}
    teacher = {
        view: Prediction(torch.tensor(row[f'teacher_{view}'], dtype=torch.float64)) for view in ('weak', 'strong')
    }
    losses = begin(distiller, 240)(student, teacher, torch.tensor(row['target']))
    for name, expected in row['losses'].items():
        close(losses[name if name.startswith('loss_') else f'loss_{name}'], expected)
    close(total(losses), row['total'])
    total(losses).backward()
    for view in ('weak', 'strong'):
        close(student[view].logits.grad, row[f'grad_student_{view}'])


def check_oracle(loss: Callable[..., Tensor], oracle: Callable[..., float], **options) -> None:
    """The loss of each sample equals ``oracle(student row, teacher row, target, **options)`` on other shapes."""
    for n, k in SHAPES:
        student, teacher, target = random_batch(n, k)
        actual = _with_target(loss)(student['weak'].logits, teacher['weak'].logits, target, **options)
        expected = [
            oracle(s, t, y, **options)
            for s, t, y in zip(
                student['weak'].logits.tolist(), teacher['weak'].logits.tolist(), target.tolist(), strict=True
            )
        ]
        close(actual, expected, rtol=1e-10)


def check_defaults(
    distiller: PairDistiller, loss: Callable[..., Tensor], *, ce_weight: float, kd_weight: float, **options
) -> None:
    """A distiller with no option given uses the published ones: weighted cross-entropy plus weighted mean loss."""
    student, teacher, target = random_batch(8, 6)
    losses = begin(distiller, 240)(student, teacher, target)
    s, t = student['weak'].logits, teacher['weak'].logits
    label_loss = sum(-math.log(softmax(row)[y]) for row, y in zip(s.tolist(), target.tolist(), strict=True)) / 8
    assert losses.keys() == {'loss_ce', 'loss_kd'}
    close(losses['loss_ce'], ce_weight * label_loss)
    close(losses['loss_kd'], kd_weight * _with_target(loss)(s, t, target, **options).mean())


def check_warmup(distiller: Callable[[int], PairDistiller]) -> None:
    """The pair loss is scaled by ``min(epoch / warmup, 1)``, the epoch counted from 1; outside of a training by 1."""
    student, teacher, target = random_batch(4, 5)

    def pair_loss(warmup: int, epoch: int | None = None) -> Tensor:
        module = distiller(warmup)
        module.eval() if epoch is None else begin(module, epoch)
        return module.pair(student['weak'], teacher['weak'], target)

    full = pair_loss(20)
    close(pair_loss(0), full)
    for epoch, factor in ((1, 0.05), (3, 0.15), (20, 1.0), (21, 1.0), (240, 1.0)):
        close(pair_loss(20, epoch), factor * full, rtol=1e-7)  # the factor is kept in fp32
    close(pair_loss(0, 1), full)
    close(pair_loss(1, 1), full)
    with pytest.raises(
        InputError, match=r'has a warm-up of 20 epochs and was never told the epoch: call distiller.begin'
    ):
        distiller(20).pair(student['weak'], teacher['weak'], target)


def begin(distiller: Distiller, epoch: int, epochs: int = 240) -> Distiller:
    """Tell a distiller that the training stands at an epoch, counted from 1; it is given back."""
    distiller.begin(Progress(epoch, 10 * (epoch - 1), epochs, 10 * epochs))
    return distiller


def _views(logits: Tensor) -> Views:
    return {'weak': Prediction(logits)}


def _with_target(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The loss as a function of student, teacher and target, whether or not it reads the target."""
    if 'target' in inspect.signature(loss).parameters:
        return loss
    return lambda student, teacher, _, **options: loss(student, teacher, **options)


# Naive arithmetic for the oracles: one row of floats at a time.


def softmax(row: Row, temperature: float = 1.0) -> list[float]:
    powers = [math.exp(z / temperature) for z in row]
    return [power / sum(powers) for power in powers]


def others(row: Row, target: int) -> list[float]:
    return [z for k, z in enumerate(row) if k != target]


def kl(p: Row, q: Row) -> float:
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True))


def spread(row: Row) -> float:
    """The unbiased standard deviation."""
    mean = sum(row) / len(row)
    return math.sqrt(sum((z - mean) ** 2 for z in row) / (len(row) - 1))


def logits_of(*probabilities: Row) -> Tensor:
    """Logits whose softmax at temperature 1 is what is given: one row each."""
    return torch.tensor(probabilities, dtype=torch.float64).log()
