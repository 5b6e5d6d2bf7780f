"""CRLD: reference numbers, its wiring in literal loops, masks, and what becomes of the decorated distiller."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import CRLD, DKD, KD, MLLD, NKD, LogitStandardization, NormKD, PairDistiller, Prediction
from crld_zoo.errors import InputError

from .testers import (
    begin,
    check_golden_views,
    close,
    golden,
    kl,
    logits_of,
    random_batch,
    softmax,
    total,
)

OWN_OPTIONS = ('ce_weight', 'wv_weight', 'cv_weight', 'tau_w', 'tau_s')


@pytest.mark.parametrize(
    ('base', 'row'),
    [
        pytest.param(base, *case.values, id=f'{base.__name__}-{case.id}')
        for base, method in ((KD, 'kd+crld'), (DKD, 'dkd+crld'), (NKD, 'nkd+crld'), (NormKD, 'normkd+crld'))
        for case in golden(method)
    ],
)
def test_reference_numbers(base, row):
    own = {name: value for name, value in row['params'].items() if name in OWN_OPTIONS}
    check_golden_views(
        row, CRLD(base(**{name: value for name, value in row['params'].items() if name not in own}), **own)
    )


def crld(student, teacher, target, pair_loss, *, ce_weight, wv_weight, cv_weight, tau_w, tau_s, mask_by):
    """The three terms sample by sample, from rows of floats; ``pair_loss(student row, teacher row, target)``."""
    n = len(target)
    losses = dict(loss_ce=0.0, loss_wv=0.0, loss_cv=0.0, keep_weak=0.0, keep_strong=0.0)
    for i, y in enumerate(target):
        (s_w, s_s), (t_w, t_s) = ((views['weak'][i], views['strong'][i]) for views in (student, teacher))
        weak_kept, strong_kept = max(softmax(t_w)) >= tau_w, max(softmax(t_s)) >= tau_s
        losses['keep_weak'] += weak_kept / n
        losses['keep_strong'] += strong_kept / n
        losses['loss_ce'] += ce_weight * (-math.log(softmax(s_w)[y]) - math.log(softmax(s_s)[y])) / n
        for name, weight, pairs, term_kept in (
            ('loss_wv', wv_weight, ((s_w, t_w, weak_kept), (s_s, t_s, strong_kept)), weak_kept),
            ('loss_cv', cv_weight, ((s_s, t_w, weak_kept), (s_w, t_s, strong_kept)), strong_kept),
        ):
            for s, t, target_kept in pairs:
                if term_kept if mask_by == 'term' else target_kept:
                    losses[name] += weight * pair_loss(s, t, y) / n
    return losses


def rows(views):
    return {view: prediction.logits.tolist() for view, prediction in views.items()}


@pytest.mark.parametrize('mask_by', ['term', 'target_view'])
@pytest.mark.parametrize('shape', [(1, 2), (16, 3), (9, 40)], ids=str)
def test_wiring_in_loops(shape, mask_by):
    """Four different predictions and five different weights and thresholds: nothing can be swapped unseen."""
    student, teacher, target = random_batch(*shape)
    own = dict(ce_weight=0.7, wv_weight=1.9, cv_weight=0.4, tau_w=0.8, tau_s=0.6, mask_by=mask_by)
    losses = CRLD(KD(temperature=3.0), **own)(student, teacher, target)
    expected = crld(
        rows(student), rows(teacher), target.tolist(), lambda s, t, _: 9 * kl(softmax(t, 3.0), softmax(s, 3.0)), **own
    )
    assert losses.keys() == expected.keys()
    for name, value in expected.items():
        close(losses[name], value, rtol=1e-10)
    if shape == (16, 3):
        kept = [
            [max(softmax(row)) >= tau for row in rows(teacher)[view]] for view, tau in (('weak', 0.8), ('strong', 0.6))
        ]
        assert {*zip(*kept, strict=True)} == {(a, b) for a in (False, True) for b in (False, True)}


def test_pair_loss_of_one_call_equals_four_calls():
    """Per-sample methods are computed on all four pairs stacked; the declared alternative is one call a pair."""

    class NotStacked(DKD):
        per_sample = False

    batch = random_batch(7, 5)
    torch.testing.assert_close(
        CRLD(DKD(beta=2.0, warmup=0))(*batch), CRLD(NotStacked(beta=2.0, warmup=0))(*batch), rtol=1e-12, atol=0
    )


def test_batch_level_method_sees_one_pair_at_a_time():
    student, teacher, target = random_batch(5, 4)
    losses = CRLD(MLLD(), tau_w=0.0, tau_s=0.0, wv_weight=2.0, cv_weight=0.5)(student, teacher, target)

    def d(student_view, teacher_view):
        return MLLD().pair(student[student_view], teacher[teacher_view], target).mean()

    close(losses['loss_wv'], 2 * (d('weak', 'weak') + d('strong', 'strong')))
    close(losses['loss_cv'], 0.5 * (d('strong', 'weak') + d('weak', 'strong')))


def test_number_by_hand():
    # N = 1, y = 1, KD at T = 1. Weak: p_s = (1/4, 3/4), p_t = (1/2, 1/2). Strong: p_s = (1/2, 1/2), p_t = (1/4, 3/4).
    # CE = ln 4/3 + ln 2 = ln 8/3. tau_w = 1/2 is just reached: kept. tau_s = 0.8 > 3/4: not kept.
    # d_ww = 1/2 ln 4/3; d_ss = 1/4 ln 1/2 + 3/4 ln 3/2 = 3/4 ln 3 - ln 2; d(s strong, t weak) = 0.
    even, odd = logits_of([1 / 2, 1 / 2]), logits_of([1 / 4, 3 / 4])
    student = {'weak': Prediction(odd), 'strong': Prediction(even)}
    teacher = {'weak': Prediction(even), 'strong': Prediction(odd)}
    own = dict(ce_weight=3.0, wv_weight=2.0, cv_weight=0.5, tau_w=0.5, tau_s=0.8)
    d_ww, d_ss = math.log(4 / 3) / 2, 0.75 * math.log(3) - math.log(2)

    losses = CRLD(KD(temperature=1.0), **own)(student, teacher, torch.tensor([1]))
    for name, value in dict(
        loss_ce=3 * math.log(8 / 3), loss_wv=2 * (d_ww + d_ss), loss_cv=0.0, keep_weak=1.0, keep_strong=0.0
    ).items():
        close(losses[name], value)
    losses = CRLD(KD(temperature=1.0), mask_by='target_view', **own)(student, teacher, torch.tensor([1]))
    close(losses['loss_wv'], 2 * d_ww)
    close(losses['loss_cv'], 0.0)


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
@pytest.mark.parametrize('classes', [2, 4, 8])
def test_confidence_equal_to_the_threshold_is_kept(classes, dtype):
    """Constant logits of 2, 4 or 8 classes give exactly 1 / K."""
    student, _, target = random_batch(3, classes, dtype=dtype)
    teacher = {view: Prediction(torch.zeros(3, classes, dtype=dtype)) for view in ('weak', 'strong')}
    at, above = 1 / classes, 1 / classes + 1e-6
    losses = CRLD(KD(), tau_w=at, tau_s=above)(student, teacher, target)
    assert (losses['keep_weak'], losses['keep_strong']) == (1, 0)
    losses = CRLD(KD(), tau_w=above, tau_s=at)(student, teacher, target)
    assert (losses['keep_weak'], losses['keep_strong']) == (0, 1)


def test_confidence_is_read_at_temperature_1():
    """p = (0.9.., ..) at temperature 1 is about 0.6 at the pair loss' temperature 4."""
    student, _, target = random_batch(3, 2)
    teacher = {view: Prediction(logits_of(*[[0.91, 0.09]] * 3)) for view in ('weak', 'strong')}
    assert CRLD(KD(temperature=4.0), tau_w=0.9)(student, teacher, target)['keep_weak'] == 1


def test_mean_divides_by_the_batch_not_by_the_number_kept():
    student, teacher, target = random_batch(4, 5)
    sure = torch.tensor([[30.0, 0, 0, 0, 0]]).double()
    unsure = {view: Prediction(torch.cat([sure, torch.zeros(3, 5).double()])) for view in ('weak', 'strong')}
    losses = CRLD(KD(), tau_w=0.9, tau_s=0.9)(student, unsure, target)
    assert losses['keep_weak'] == losses['keep_strong'] == 0.25
    first = CRLD(KD(), tau_w=0.9, tau_s=0.9)(
        {view: Prediction(p.logits[:1]) for view, p in student.items()},
        {view: Prediction(p.logits[:1]) for view, p in unsure.items()},
        target[:1],
    )
    for name in ('loss_wv', 'loss_cv'):
        assert first[name] > 0
        close(losses[name], first[name] / 4)


def test_weights_of_the_decorated_do_not_apply():
    batch = random_batch(6, 5)
    plain, weighted = CRLD(KD())(*batch), CRLD(KD(ce_weight=5.0, kd_weight=70.0))(*batch)
    torch.testing.assert_close(weighted, plain, rtol=0, atol=0)


@pytest.mark.parametrize('wrap', [lambda d: d, LogitStandardization], ids=['alone', 'standardized'])
def test_warmup_of_the_decorated_applies(wrap):
    batch = random_batch(6, 5)
    decorated = CRLD(wrap(DKD(warmup=20)), tau_w=0.0)
    whole = begin(decorated, 20)(*batch)
    begin(decorated, 5)
    partly = decorated(*batch)
    for name in ('loss_wv', 'loss_cv'):
        close(partly[name], 0.25 * whole[name], rtol=1e-7)
    close(partly['loss_ce'], whole['loss_ce'])


def test_teacher_confidence_is_read_before_standardization():
    """The mask is about the teacher, not about the decorated loss: its raw logits decide."""
    student, teacher, target = random_batch(8, 5)
    plain, standardized = (CRLD(d)(student, teacher, target) for d in (KD(), LogitStandardization(KD())))
    assert 0 < plain['keep_weak'] < 1
    assert plain['keep_weak'] == standardized['keep_weak']


class FeatureDistance(PairDistiller):
    """A toy: squared distance of the last feature maps, through a learned projection."""

    taps = ('stage1', 'stage2')

    def __init__(self):
        super().__init__(ce_weight=1.0, kd_weight=1.0)
        self.projection = torch.nn.Linear(3, 3, bias=False).double()

    def pair_loss(self, student, teacher, target):
        return (self.projection(student.features['stage2']) - teacher.features['stage2']).square().mean(1)


@pytest.mark.parametrize('wrap', [lambda d: d, LogitStandardization], ids=['alone', 'standardized'])
def test_features_are_stacked_and_passed_through(wrap):
    student, teacher, target = random_batch(4, 5)
    for views in (student, teacher):
        for view, prediction in views.items():
            features = {
                tap: torch.randn(4, width, dtype=torch.float64) for tap, width in (('stage1', 2), ('stage2', 3))
            }
            views[view] = Prediction(prediction.logits, features)
    base = FeatureDistance()
    decorated = CRLD(wrap(base), tau_w=0.0, tau_s=0.0, wv_weight=2.0, cv_weight=0.5)
    assert decorated.taps == ('stage1', 'stage2')
    losses = decorated(student, teacher, target)

    def d(student_view, teacher_view):
        return base.pair_loss(student[student_view], teacher[teacher_view], target).mean()

    close(losses['loss_wv'], 2 * (d('weak', 'weak') + d('strong', 'strong')))
    close(losses['loss_cv'], 0.5 * (d('strong', 'weak') + d('weak', 'strong')))
    total(losses).backward()
    assert base.projection.weight.grad.abs().sum() > 0
    assert [name for name, _ in decorated.named_parameters()][0].endswith('projection.weight')


@pytest.mark.parametrize('per_sample', [True, False])
@pytest.mark.parametrize('reduce', [torch.Tensor.mean, lambda squares: squares], ids=['averaged', 'a value a class'])
def test_pair_loss_that_is_not_per_sample_is_refused(reduce, per_sample):
    """Batch size and class count are equal here, so that a wrong shape would broadcast against the mask."""

    class Misshapen(PairDistiller):
        def pair_loss(self, student, teacher, target):
            return reduce((student.logits - teacher.logits).square())

    decorated = CRLD(Misshapen(ce_weight=1.0, kd_weight=1.0))
    decorated.per_sample = per_sample
    with pytest.raises(InputError, match=r'Misshapen.pair_loss must return one value a sample, shape \(\d+,\)'):
        decorated(*random_batch(5, 5))


def test_logit_methods_need_no_features():
    assert CRLD(KD()).taps == ()
    assert CRLD(KD()).views == ('weak', 'strong')


def test_defaults_are_the_published_ones():
    batch = random_batch(8, 6)
    explicit = CRLD(
        KD(temperature=4.0), ce_weight=1.0, wv_weight=2.0, cv_weight=0.5, tau_w=0.9, tau_s=0.2, mask_by='term'
    )
    torch.testing.assert_close(CRLD(KD())(*batch), explicit(*batch), rtol=0, atol=0)


@pytest.mark.parametrize('base', [KD, NormKD, MLLD])
def test_mixed_labels_with_methods_that_do_not_read_the_label(base):
    student, teacher, target = random_batch(6, 5)
    one_hot = torch.nn.functional.one_hot(target, 5).double()
    torch.testing.assert_close(
        CRLD(base())(student, teacher, one_hot), CRLD(base())(student, teacher, target), rtol=1e-9, atol=0
    )
