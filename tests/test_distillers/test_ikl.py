"""IKL and GKL: reference numbers, the formula in loops, the class table over epochs, bad input."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import GKL, IKL, TrainingData, gkl_loss, ikl_loss
from crld_zoo.errors import InputError

from .testers import begin, check_defaults, check_warmup, close, golden, leaf, observe, prepared, random_batch, softmax


@pytest.mark.parametrize(
    ('row', 'loss'),
    [pytest.param(*row.values, loss) for name, loss in (('ikl', ikl_loss), ('gkl', gkl_loss)) for row in golden(name)],
)
def test_reference_numbers(row, loss):
    student, teacher = leaf(row['logits_student']), leaf(row['logits_teacher']).detach()
    table = leaf(row['class_prior']).detach() if 'class_prior' in row else None
    value = loss(student, teacher, torch.tensor(row['target']), **row['params'], class_table=table).mean()
    value.backward()
    close(value, row['loss'])
    close(student.grad, row['grad_student'])


@pytest.mark.parametrize('gamma', [None, 0.5])
def test_formula_in_loops(gamma):
    """The published double sum over classes: ``1/4 sum_kl w_k w_l (d_k - d_l)^2`` and soft labels."""
    student, teacher, target = random_batch(4, 5)
    s, t = student['weak'].logits, teacher['weak'].logits
    squares, soft, totals = [], [], []
    for a, b in zip(s.tolist(), t.tolist(), strict=True):
        w = [p ** (1 if gamma is None else gamma) for p in softmax(b, 3.0)]
        d = [y - x for x, y in zip(a, b, strict=True)]
        squares.append(sum(w[k] * w[m] * (d[k] - d[m]) ** 2 for k in range(5) for m in range(5)) / 4)
        totals.append(sum(w) ** 2)
        soft.append(-sum(p * math.log(q) for p, q in zip(softmax(b, 2.0), softmax(a, 2.0), strict=True)))
    scale = 1 if gamma is None else sum(totals) / 4
    options = dict(alpha=3.0, beta=4.0, temperature=2.0, t2=3.0)
    actual = ikl_loss(s, t, target, **options) if gamma is None else gkl_loss(s, t, target, gamma=gamma, **options)
    close(actual, [4 * x / scale + 3 * y for x, y in zip(squares, soft, strict=True)])


def test_number_by_hand():
    """Even weights, differences 0 and 2: their variance is 1, so half of it, and soft labels of 0."""
    s, t = torch.tensor([[0.0, -2.0]]).double(), torch.tensor([[0.0, 0.0]]).double()
    close(ikl_loss(s, t, torch.tensor([0]), alpha=0.0, beta=1.0, temperature=1.0, t2=1.0), [0.5])


def test_defaults_are_the_published_ones():
    weights = dict(ce_weight=1.0, kd_weight=1.0)
    check_defaults(IKL(), ikl_loss, alpha=1.0, beta=8.0, temperature=4.0, t2=100.0, **weights)
    check_defaults(GKL(), gkl_loss, alpha=1.0, beta=8.0, gamma=1.0, temperature=4.0, t2=1.0, **weights)


def test_warmup():
    check_warmup(lambda epochs: IKL(warmup=epochs))


@pytest.mark.parametrize('method', [IKL, GKL])
def test_the_class_table_is_the_mean_of_the_epoch_before(method):
    distiller, batch = prepared(method(class_table=True, t2=2.0), 6, 3, epoch=1, steps=0)
    even = torch.full((3, 3), 1 / 3, dtype=distiller.class_table.dtype)
    close(distiller.class_table, even, rtol=1e-6)
    batch.target[0] = -1
    for _ in range(2):
        observe(distiller, batch)
    close(distiller.class_table, even, rtol=1e-6)  # not before the epoch is over
    begin(distiller, 2)
    rows = (batch.predictions()[1]['weak'].logits / 2).softmax(1)
    for y in range(3):
        mine = rows[batch.target == y]
        close(distiller.class_table[y], mine.mean(0) if len(mine) else even[y], rtol=1e-6)
    table = distiller.class_table.clone()
    begin(distiller, 2)
    begin(distiller, 3)  # nothing was seen in between
    assert torch.equal(distiller.class_table, table)


def test_a_class_table_that_was_never_set_up_is_said():
    student, teacher, target = random_batch(4, 3)
    with pytest.raises(InputError, match='has a class table and was never set up'):
        begin(IKL(class_table=True), 1)(student, teacher, target)


def test_a_class_table_needs_some_label_in_the_training_set():
    unlabeled = TrainingData(4, 3, torch.full((4,), -1))
    with pytest.raises(InputError, match='GKL: a class table needs labels, the data has none'):
        GKL(class_table=True).connect(unlabeled)
    GKL(class_table=True).connect(unlabeled._replace(labels=torch.tensor([-1, 0, -1, -1])))
    IKL().connect(unlabeled)


def test_a_class_table_needs_class_indices():
    logits = torch.zeros(2, 3)
    with pytest.raises(InputError, match='class table needs one class index a sample'):
        ikl_loss(logits, logits, logits, alpha=1.0, beta=1.0, temperature=1.0, t2=1.0, class_table=torch.ones(3, 3))
