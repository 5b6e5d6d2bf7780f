"""CrossEntropy: the formula in loops, a number by hand, mixed labels; binary as timm's."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from crld_zoo.distillers import CRLD, KD, CrossEntropy, Dense, LogitStandardization, Prediction, Sum
from crld_zoo.errors import InputError

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


def binary(target: torch.Tensor, **options) -> torch.Tensor:
    student, _, _ = random_batch(6, 5)
    return CrossEntropy(bce=True, **options)(student, {}, target)['loss_ce']


MIXED = 0.7 * F.one_hot(torch.arange(6) % 5, 5) + 0.3 * F.one_hot(torch.arange(6).flip(0) % 5, 5)


@pytest.mark.parametrize(
    ('target', 'smoothing', 'threshold'),
    [
        (torch.arange(6) % 5, 0.0, None),
        (torch.arange(6) % 5, 0.1, None),
        (torch.arange(6) % 5, 0.1, 0.02),  # what smoothing gives the other classes
        (MIXED, 0.0, None),
        (MIXED, 0.0, 0.0),  # both of a pair are there: DeiT III
        (MIXED, 0.0, 0.5),
    ],
)
@pytest.mark.parametrize('weight', [None, [0.5, 2.0, 1.0, 3.0, 0.1]])
def test_binary_is_timms(target, smoothing, threshold, weight):
    timm_loss = pytest.importorskip('timm.loss')
    student, _, _ = random_batch(6, 5)
    weights = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    theirs = timm_loss.BinaryCrossEntropy(smoothing, threshold, weights)(student['weak'].logits, target.clone())
    ours = binary(target, label_smoothing=smoothing, bce_threshold=threshold, class_weight=weight)
    close(ours, theirs, rtol=1e-7)  # class weights are kept in fp32


def test_binary_smoothing_of_mixed_labels_is_that_of_the_labels_that_were_mixed():
    one, other = (F.one_hot(labels % 5, 5).double() for labels in (torch.arange(6), torch.arange(6).flip(0)))
    smooth = [0.9 * each + 0.1 / 5 for each in (one, other)]
    close(binary(0.7 * one + 0.3 * other, label_smoothing=0.1), binary(0.7 * smooth[0] + 0.3 * smooth[1]))


def test_binary_number_by_hand():
    # Logits 0: each class costs ln 2, whatever its target; their mean, not their sum.
    student = {'weak': Prediction(torch.zeros(3, 7))}
    close(CrossEntropy(bce=True)(student, {}, torch.tensor([0, 1, 6]))['loss_ce'], math.log(2), rtol=1e-6)


def test_binary_mean_is_over_the_labeled():
    student, _, target = random_batch(6, 5)
    labeled = torch.arange(6) % 3 > 0
    found = CrossEntropy(bce=True)(student, {}, torch.where(labeled, target, -1))['loss_ce']
    of_class = F.one_hot(target[labeled], 5).double()
    close(found, F.binary_cross_entropy_with_logits(student['weak'].logits[labeled], of_class))
    found.backward()
    assert (student['weak'].logits.grad.any(1) == labeled).all()
    assert CrossEntropy(bce=True)(student, {}, torch.full((6,), -1))['loss_ce'] == 0


def test_binary_reaches_the_label_term_of_whatever_holds_a_method():
    student, teacher, target = random_batch(6, 5)
    plain = binary(target, label_smoothing=0.1)
    options = dict(bce=True, label_smoothing=0.1)
    held = KD(ce_weight=1.0, **options)
    for distiller in (held, LogitStandardization(held), Dense(held), Sum([KD()], **options)):
        close(distiller(student, teacher, target)['loss_ce'], plain)
    both = CRLD(KD(), **options)(student, teacher, target)['loss_ce']
    close(both, sum(CrossEntropy(**options)({'weak': student[view]}, {}, target)['loss_ce'] for view in student))


def test_binary_is_finite_and_full_precision_at_extreme_logits():
    logits = torch.tensor([[100.0, -100.0], [-100.0, 100.0]], dtype=torch.bfloat16, requires_grad=True)
    loss = CrossEntropy(bce=True)({'weak': Prediction(logits)}, {}, torch.tensor([0, 0]))['loss_ce']
    loss.backward()
    assert loss == 50 and loss.dtype == torch.float32 and logits.grad.isfinite().all()


def test_binary_options_that_cannot_be():
    with pytest.raises(InputError, match=r'CrossEntropy: bce_threshold=0.2 needs bce=True\.'):
        CrossEntropy(bce_threshold=0.2)
    with pytest.raises(InputError, match='CrossEntropy: bce_threshold must be a number from 0 to 1, not 2'):
        CrossEntropy(bce=True, bce_threshold=2)
    with pytest.raises(InputError, match=r'labels are those of pixels, of shape \(6, 2, 2\): decorate the distiller'):
        binary(torch.zeros(6, 2, 2, dtype=torch.long))
