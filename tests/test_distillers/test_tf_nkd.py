"""tf-NKD: reference numbers, the formula in loops (also with mixed labels), a number by hand, reductions."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from crld_zoo.distillers import TfNKD, tf_nkd_loss

from .testers import SHAPES, close, golden, leaf, logits_of, random_batch, softmax

STOPPED_GRADIENT = True


@pytest.mark.parametrize('row', golden('tf_nkd'))
def test_reference_numbers(row):
    student = leaf(row['logits_student'])
    loss = tf_nkd_loss(student, torch.tensor(row['target'])).mean()
    loss.backward()
    close(loss, row['loss'])
    close(student.grad, row['grad_student'])


def teacher_free(rows, shares):
    """``shares`` holds, for each sample, its (label, share) pairs: one, or two of a mixed label."""
    result = [0.0] * len(rows)
    for i in range(len(shares[0])):
        p = [softmax(row)[own[i][0]] for row, own in zip(rows, shares, strict=True)]
        for sample, own in enumerate(shares):
            if own[i][1] > 0:
                weight = p[sample] + own[i][1] - sum(p) / len(p)
                result[sample] -= weight * math.log(p[sample])
    return result


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_formula_in_loops(shape):
    student, _, target = random_batch(*shape)
    rows = student['weak'].logits.tolist()
    close(
        tf_nkd_loss(student['weak'].logits, target),
        teacher_free(rows, [[(y, 1.0)] for y in target.tolist()]),
        rtol=1e-10,
    )


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_formula_in_loops_with_mixed_labels(shape):
    n, k = shape
    student, _, first = random_batch(n, k)
    second = (first + 1) % k
    share = torch.linspace(0.6, 0.9, n, dtype=torch.float64)
    mixed = share[:, None] * F.one_hot(first, k) + (1 - share)[:, None] * F.one_hot(second, k)
    shares = [[(a, v), (b, 1 - v)] for a, b, v in zip(first.tolist(), second.tolist(), share.tolist(), strict=True)]
    close(tf_nkd_loss(student['weak'].logits, mixed), teacher_free(student['weak'].logits.tolist(), shares), rtol=1e-10)


def test_number_by_hand():
    # p_s[y] = 3/4 and 1/4, their mean 1/2: weights 5/4 and 3/4.
    loss = tf_nkd_loss(logits_of([3 / 4, 1 / 4], [3 / 4, 1 / 4]), torch.tensor([0, 1]))
    close(loss, [5 / 4 * math.log(4 / 3), 3 / 4 * math.log(4)])


def test_one_hot_labels_are_class_indices():
    student, _, target = random_batch(6, 5)
    logits = student['weak'].logits
    close(tf_nkd_loss(logits, F.one_hot(target, 5).double()), tf_nkd_loss(logits, target))


def test_one_sample_leaves_cross_entropy():
    """Alone in its batch a sample is its own mean: the weight is 1."""
    student, _, target = random_batch(1, 5)
    logits = student['weak'].logits
    close(tf_nkd_loss(logits, target), F.cross_entropy(logits, target, reduction='none'))


def test_no_gradient_through_the_weight():
    student, _, target = random_batch(6, 5)
    logits = student['weak'].logits
    tf_nkd_loss(logits, target).sum().backward()
    p = logits.detach().softmax(1)
    own = p[torch.arange(6), target]
    weight = own + 1 - own.mean()
    close(logits.grad, weight[:, None] * (p - F.one_hot(target, 5)))


def test_is_added_to_the_labels_loss_and_needs_no_teacher():
    student, _, target = random_batch(6, 5)
    losses = TfNKD(ce_weight=0.5, kd_weight=3.0)(student, {}, target)
    logits = student['weak'].logits
    assert losses.keys() == {'loss_ce', 'loss_kd'}
    close(losses['loss_ce'], 0.5 * F.cross_entropy(logits, target))
    close(losses['loss_kd'], 3 * tf_nkd_loss(logits, target).mean())
    assert not TfNKD.needs_teacher
