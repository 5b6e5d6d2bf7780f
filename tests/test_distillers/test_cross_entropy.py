"""CrossEntropy: the formula in loops, a number by hand, mixed labels."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from crld_zoo.distillers import CrossEntropy, Prediction

from .testers import SHAPES, close, logits_of, random_batch, softmax


def test_formula_in_loops():
    for n, k in SHAPES:
        student, _, target = random_batch(n, k)
        losses = CrossEntropy()(student, {}, target)
        rows = student['weak'].logits.tolist()
        assert losses.keys() == {'loss_ce'}
        close(
            losses['loss_ce'],
            sum(-math.log(softmax(row)[y]) for row, y in zip(rows, target.tolist(), strict=True)) / n,
            rtol=1e-10,
        )


def test_number_by_hand():
    # -ln 1/4 and -ln 1/2, averaged: 3/2 ln 2.
    student = {'weak': Prediction(logits_of([1 / 4, 3 / 4], [1 / 2, 1 / 2]))}
    close(CrossEntropy()(student, {}, torch.tensor([0, 1]))['loss_ce'], 1.5 * math.log(2))


def test_class_probabilities_as_labels():
    student, _, target = random_batch(6, 5)
    indices = CrossEntropy()(student, {}, target)['loss_ce']
    close(CrossEntropy()(student, {}, F.one_hot(target, 5).double())['loss_ce'], indices)


def test_needs_one_view_and_no_teacher():
    assert not CrossEntropy.needs_teacher
    assert CrossEntropy.views == ('weak',)
