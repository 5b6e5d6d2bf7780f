"""USKD: reference numbers, the formula in loops (also with mixed labels), numbers by hand, the weak head."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from crld_zoo.distillers import USKD, Prediction, uskd_loss
from crld_zoo.errors import InputError

from .map_testers import NETWORKS
from .testers import SHAPES, close, golden, leaf, logits_of, prepared, random_batch, softmax, total

STOPPED_GRADIENT = True
WEIGHTS = dict(alpha=0.7, beta=0.3, mu=0.2)


@pytest.mark.parametrize('row', golden('uskd'))
def test_reference_numbers(row):
    """Of the distiller; the function alone is what it calls."""
    student, feature = leaf(row['logits_student']), leaf(row['feature'])
    distiller = USKD(tap='stage1', ce_weight=0.0, **row['params'])
    predictions = {'weak': Prediction(student, {'stage1': feature})}
    distiller.setup(predictions, {}, NETWORKS)
    distiller.double()
    with torch.no_grad():
        for value, name in ((distiller.head.weight, 'fc_weight'), (distiller.head.bias, 'fc_bias')):
            value.copy_(torch.tensor(row[name], dtype=torch.float64))
    loss = total(distiller(predictions, {}, torch.tensor(row['target'])))
    loss.backward()
    close(loss, row['loss'])
    close(student.grad, row['grad_student'])
    w = leaf(F.linear(feature, distiller.head.weight, distiller.head.bias).detach())
    expected = row['params']['mu'] * F.cross_entropy(w, torch.tensor(row['target']), label_smoothing=0.1)
    (grad,) = torch.autograd.grad(expected, w)  # the weak head learns from its labels alone
    close(distiller.head.weight.grad, grad.T @ feature)
    close(feature.grad, grad @ distiller.head.weight)


def by_loops(logits: Tensor, weak: Tensor, labels: list, variant: str, alpha: float, beta: float, mu: float):
    """``labels`` holds, for each sample, its (label, share) pairs: one, or two of a mixed label."""
    rows, weak, result = logits.tolist(), weak.tolist(), []
    square = [
        [softmax(row)[own[i][0]] ** 2 for row, own in zip(rows, labels, strict=True)] for i in range(len(labels[0]))
    ]
    for n, (row, of_weak, own) in enumerate(zip(rows, weak, labels, strict=True)):
        k, s, w = len(row), softmax(row), softmax(of_weak)
        loss = 0.0
        for i, (label, share) in enumerate(own):
            loss -= alpha * (square[i][n] + share - sum(square[i]) / len(rows)) * math.log(s[label])
        ranked = [math.log(p) for p in s] if variant == 'reference' else s
        targets = [label for label, _ in own]
        scores = [
            w[c] / (1 - sum(w[y] for y in targets) + 1e-6) + ranked[c] / (1 - sum(ranked[y] for y in targets) + 1e-6)
            for c in range(k)
        ]
        zipf = {c: 1 / (1 + sum(other > scores[c] for other in scores)) for c in range(k) if c not in targets}
        q = {c: math.exp(row[c]) / sum(math.exp(row[o]) for o in zipf) for c in zipf}
        loss -= beta * sum(zipf[c] / sum(zipf.values()) * math.log(q[c]) for c in zipf)
        smooth = [0.9 * sum(share for label, share in own if label == c) + 0.1 / k for c in range(k)]
        result.append(loss - mu * sum(smooth[c] * math.log(w[c]) for c in range(k)))
    return result


@pytest.mark.parametrize('variant', ['reference', 'paper'])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_formula_in_loops(shape, variant):
    student, teacher, target = random_batch(*shape)
    logits, weak = student['weak'].logits, teacher['strong'].logits
    expected = by_loops(logits, weak, [[(y, 1.0)] for y in target.tolist()], variant, **WEIGHTS)
    close(uskd_loss(logits, weak, target, variant=variant, **WEIGHTS), expected, rtol=1e-10)


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_formula_in_loops_with_mixed_labels(shape):
    n, k = shape
    student, teacher, first = random_batch(n, k)
    logits, weak = student['weak'].logits, teacher['strong'].logits
    second, share = (first + 1) % k, torch.linspace(0.6, 0.9, n, dtype=torch.float64)
    mixed = share[:, None] * F.one_hot(first, k) + (1 - share)[:, None] * F.one_hot(second, k)
    labels = [[(a, v), (b, 1 - v)] for a, b, v in zip(first.tolist(), second.tolist(), share.tolist(), strict=True)]
    expected = by_loops(logits, weak, labels, 'reference', **WEIGHTS)
    close(uskd_loss(logits, weak, mixed, variant='reference', **WEIGHTS), expected, rtol=1e-10)


def test_numbers_by_hand():
    # One sample: v = s_y^2 + 1 - s_y^2 = 1. Zipf's weights of the two others, ranked 2 and 3: 3/5 and 2/5.
    logits, target = logits_of([1 / 2, 1 / 3, 1 / 6]), torch.tensor([0])
    options = dict(target=target, variant='paper')
    close(uskd_loss(logits, logits, alpha=1, beta=0, mu=0, **options), [math.log(2)])
    close(uskd_loss(logits, logits, alpha=0, beta=1, mu=0, **options), [3 / 5 * math.log(3 / 2) + 2 / 5 * math.log(3)])
    smooth = 0.9 * math.log(2) + 0.1 / 3 * (math.log(2) + math.log(3) + math.log(6))
    close(uskd_loss(logits, logits, alpha=0, beta=0, mu=1, **options), [smooth])


def test_the_weak_head_has_a_say_in_the_ranks():
    student, weak = logits_of([1 / 2, 0.26, 0.24]), logits_of([0.5, 0.1, 0.4])
    loss = uskd_loss(student, weak, torch.tensor([0]), alpha=0, beta=1, mu=0, variant='paper')
    q = [z / (0.26 + 0.24) for z in (0.26, 0.24)]
    close(loss, [-2 / 5 * math.log(q[0]) - 3 / 5 * math.log(q[1])])


def test_one_hot_labels_are_class_indices():
    student, teacher, target = random_batch(6, 5)
    logits = student['weak'].logits, teacher['weak'].logits
    options = dict(variant='reference', **WEIGHTS)
    close(uskd_loss(*logits, F.one_hot(target, 5).double(), **options), uskd_loss(*logits, target, **options))


def test_no_gradient_through_the_soft_labels():
    student, teacher, target = random_batch(6, 5)
    logits = student['weak'].logits
    uskd_loss(logits, teacher['weak'].logits, target, alpha=1, beta=0, mu=0, variant='paper').sum().backward()
    p = logits.detach().softmax(1)
    own = p[torch.arange(6), target]
    close(logits.grad, (own**2 + 1 - (own**2).mean())[:, None] * (p - F.one_hot(target, 5)))


@pytest.mark.parametrize(
    ('shape', 'expected'),
    [
        ((6,), lambda f: f),
        ((6, 3, 4), lambda f: f.mean((2, 3))),
        ((9, 6), lambda f: f.mean(1)),
        ((10, 6), lambda f: f[:, 0]),
    ],
    ids=['vector', 'map', 'tokens', 'tokens and a class token'],
)
def test_what_the_weak_head_sees(shape, expected):
    feature = torch.randn(4, *shape, generator=torch.Generator().manual_seed(0))
    prediction = Prediction(torch.zeros(4, 5), {'stage3': feature})
    close(USKD()._middle(prediction), expected(feature), rtol=1e-6)


def test_is_added_to_the_labels_loss_and_needs_no_teacher():
    distiller, batch = prepared(USKD(ce_weight=0.5, **WEIGHTS), 6, 5)
    student, _, target = batch.predictions()
    losses = distiller(student, {}, target)
    assert losses.keys() == {'loss_ce', 'loss_kd'}
    logits, weak = student['weak'].logits, distiller.head(student['weak'].features['stage3'].mean((2, 3)))
    close(losses['loss_ce'], 0.5 * F.cross_entropy(logits, target))
    close(losses['loss_kd'], uskd_loss(logits, weak, target, variant='reference', **WEIGHTS).mean())
    assert not USKD.needs_teacher


def test_defaults_are_the_published_ones():
    distiller = USKD()
    assert (distiller.ce_weight, distiller.alpha, distiller.beta, distiller.mu) == (1, 1, 0.1, 0.005)


def test_refusals():
    one = {'weak': Prediction(torch.zeros(2, 1), {'stage3': torch.zeros(2, 6)})}
    with pytest.raises(InputError, match='USKD ranks classes, but the student has one output'):
        USKD().setup(one, {}, NETWORKS)
    with pytest.raises(InputError, match=r'weak head whose size depends on the student: call distiller.setup'):
        USKD()(one, {}, torch.zeros(2, dtype=torch.int64))
