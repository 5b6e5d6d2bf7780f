"""The contract of a distiller: what may be decorated, which options and labels are refused, and by what sentence."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from crld_zoo.distillers import (
    CRLD,
    DKD,
    KD,
    MLLD,
    NKD,
    CrossEntropy,
    Distiller,
    LogitStandardization,
    NormKD,
    PairDistiller,
    Prediction,
    TfNKD,
    dkd_loss,
    nkd_loss,
    normkd_dkd_loss,
)
from crld_zoo.distillers.functional import at_target, full_precision, kl_divergence, other_logits
from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from .testers import begin, close, prepared, random_batch, total


class Cosine(PairDistiller):
    """A method of someone else: the angle between the logits, with a learned weight."""

    def __init__(self, ce_weight: float = 1.0, kd_weight: float = 1.0) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight)
        self.weight = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))

    def pair_loss(self, student, teacher, target):
        return self.weight * (1 - torch.cosine_similarity(student.logits, teacher.logits))


class Ensemble(Distiller):
    """A method of someone else that has no pair loss: one student view learns from both teacher views."""

    def forward(self, student, teacher, target):
        soft = sum(teacher[view].logits.softmax(1) for view in teacher) / len(teacher)
        return dict(
            loss_ce=self.label_loss(student, target),
            loss_kd=-(soft * student['weak'].logits.log_softmax(1)).sum(1).mean(),
        )


class TwoViewEnsemble(Ensemble):
    views = ('weak', 'strong')


@pytest.fixture
def registered():
    """The two classes above, registered for one test."""
    for module in (Cosine, Ensemble):
        DISTILLERS.register_module(module=module)
    yield
    for module in (Cosine, Ensemble):
        del DISTILLERS.module_dict[module.__name__]


@pytest.mark.parametrize(
    'decorate',
    [
        lambda d: dict(type='CRLD', distiller=d, tau_w=0.0, tau_s=0.0),
        lambda d: dict(type='LogitStandardization', distiller=d),
        lambda d: dict(type='CRLD', distiller=dict(type='LogitStandardization', distiller=d), tau_w=0.0, tau_s=0.0),
    ],
    ids=['CRLD', 'LogitStandardization', 'CRLD(LogitStandardization)'],
)
def test_third_party_pair_distiller_is_decorated(registered, decorate):
    student, teacher, target = random_batch(5, 4)
    by_name = DISTILLERS.build(decorate(dict(type='Cosine')))
    losses = by_name(student, teacher, target)
    total(losses).backward()
    (parameter,) = by_name.parameters()
    assert parameter.grad.abs() > 0, 'its own parameter is trained'
    by_instance = DISTILLERS.build(decorate(Cosine()))
    torch.testing.assert_close(by_instance(student, teacher, target), losses, rtol=0, atol=0)


def test_third_party_pair_distiller_under_crld_is_its_own_loss():
    student, teacher, target = random_batch(5, 4)
    base = Cosine()
    losses = CRLD(base, tau_w=0.0, wv_weight=1.0)(student, teacher, target)
    close(losses['loss_wv'], sum(base.pair_loss(student[view], teacher[view], target).mean() for view in student))


def test_third_party_distiller_runs_but_has_no_pair_loss_to_decorate(registered):
    student, teacher, target = random_batch(5, 4)
    distiller = DISTILLERS.build(dict(type='Ensemble'))
    assert set(distiller(student, teacher, target)) == {'loss_ce', 'loss_kd'}
    for decorator in (CRLD, LogitStandardization):
        with pytest.raises(
            InputError,
            match=f'{decorator.__name__} cannot decorate Ensemble: '
            'it has no loss between one student and one teacher prediction',
        ):
            decorator(distiller)


@pytest.mark.parametrize('decorator', ['CRLD', 'LogitStandardization'])
@pytest.mark.parametrize(
    ('inner', 'why'),
    [
        (dict(type='CrossEntropy'), 'CrossEntropy: it learns from no teacher'),
        (dict(type='TfNKD'), 'TfNKD: it learns from no teacher'),
        (
            dict(type='CRLD', distiller=dict(type='KD')),
            'CRLD: it combines several views itself and must be the outermost',
        ),
        (TwoViewEnsemble(), 'TwoViewEnsemble: it combines several views itself and must be the outermost'),
        (nn.Linear(1, 1), 'Linear: it is no distiller'),
        ('KD', 'str: it is no distiller'),
        (None, 'NoneType: it is no distiller'),
    ],
    ids=lambda value: value if isinstance(value, str) and ':' in value else '',
)
def test_what_cannot_be_decorated_is_refused_with_the_reason(decorator, inner, why):
    with pytest.raises(InputError) as caught:
        DISTILLERS.build(dict(type=decorator, distiller=inner))
    message = str(caught.value)
    assert message.startswith(f'{decorator} cannot decorate {why}.')
    assert 'such as KD or DKD' in message and '\n' not in message


@pytest.mark.parametrize(
    ('distiller', 'option'),
    [
        (distiller, option)
        for distiller, options in {
            KD: ['temperature'],
            DKD: ['temperature'],
            NKD: ['temperature'],
            MLLD: ['temperature'],
            NormKD: ['temperature_norm'],
        }.items()
        for option in options
    ],
)
@pytest.mark.parametrize('value', [0, -1.0, math.nan, math.inf, '4', None], ids=repr)
def test_temperature_must_be_above_0(distiller, option, value):
    with pytest.raises(InputError, match=f'{distiller.__name__}: {option} must be a number above 0, not '):
        distiller(**{option: value})


@pytest.mark.parametrize(
    ('distiller', 'option'),
    [
        (distiller, option)
        for distiller, options in {
            KD: ['ce_weight', 'kd_weight'],
            DKD: ['alpha', 'beta', 'warmup', 'ce_weight', 'kd_weight'],
            NKD: ['gamma', 'ce_weight', 'kd_weight'],
            MLLD: ['ce_weight', 'kd_weight'],
            TfNKD: ['ce_weight', 'kd_weight'],
            lambda **options: CRLD(KD(), **options): ['ce_weight', 'wv_weight', 'cv_weight'],
        }.items()
        for option in options
    ],
    ids=lambda value: getattr(value, '__name__', value),
)
@pytest.mark.parametrize('value', [-0.1, math.nan, math.inf, '1'], ids=repr)
def test_weights_must_not_be_negative(distiller, option, value):
    with pytest.raises(InputError, match=f': {option} must be a number of at least 0, not '):
        distiller(**{option: value})


@pytest.mark.parametrize('option', ['tau_w', 'tau_s'])
@pytest.mark.parametrize('value', [-0.01, 1.01, 90, math.nan, math.inf, '0.9', None], ids=repr)
def test_confidence_must_lie_between_0_and_1(option, value):
    with pytest.raises(InputError, match=f'CRLD: {option} must be a number from 0 to 1, not '):
        CRLD(KD(), **{option: value})


@pytest.mark.parametrize('value', ['terms', 'target-view', True, None])
def test_mask_by_must_be_known(value):
    with pytest.raises(InputError, match="CRLD: mask_by must be 'term' or 'target_view', not "):
        CRLD(KD(), mask_by=value)


@pytest.mark.parametrize('value', ['references', 'Paper', None])
def test_variant_must_be_known(value):
    with pytest.raises(InputError, match="MLLD: variant must be 'reference' or 'paper', not "):
        MLLD(variant=value)


@pytest.mark.parametrize(
    'loss',
    [
        lambda s, t, y: dkd_loss(s, t, y, alpha=1.0, beta=1.0, temperature=1.0),
        lambda s, t, y: nkd_loss(s, t, y, gamma=1.0, temperature=1.0),
        lambda s, t, y: normkd_dkd_loss(s, t, y, alpha=1.0, beta=1.0, temperature_norm=1.0),
    ],
    ids=['dkd', 'nkd', 'normkd_dkd'],
)
@pytest.mark.parametrize(
    'labels',
    [torch.full((3, 4), 0.25), torch.eye(4, dtype=torch.long)[:3], torch.tensor([0.0, 1.0, 2.0])],
    ids=['mixed', 'one-hot', 'float'],
)
def test_methods_of_one_class_index_refuse_other_labels(loss, labels):
    student, teacher, _ = random_batch(3, 4)
    with pytest.raises(InputError, match='one class index a sample.*remove Mixup, CutMix and one-hot labels'):
        loss(student['weak'].logits, teacher['weak'].logits, labels)


def test_mixed_labels_are_refused_under_decorators_too():
    student, teacher, _ = random_batch(3, 4)
    with pytest.raises(InputError, match='one class index a sample'):
        CRLD(LogitStandardization(DKD()))(student, teacher, torch.full((3, 4), 0.25))


def test_mixed_labels_reach_the_cross_entropy():
    student, teacher, target = random_batch(3, 4)
    mixed = 0.7 * nn.functional.one_hot(target, 4) + 0.3 * nn.functional.one_hot((target + 1) % 4, 4)
    log_p = student['weak'].logits.log_softmax(1)
    expected = -(mixed * log_p).sum(1).mean()
    for distiller in (CrossEntropy(), KD(ce_weight=1.0)):
        close(distiller(student, teacher, mixed.double())['loss_ce'], expected)


def test_base_classes_are_abstract():
    with pytest.raises(TypeError, match='abstract'):
        Distiller()
    with pytest.raises(TypeError, match='pair_loss'):
        PairDistiller(ce_weight=1.0, kd_weight=1.0)


def test_prediction_has_no_features_by_default():
    assert Prediction(torch.zeros(1, 2)).features == {}


def test_target_and_other_logits():
    logits = torch.arange(12.0).view(3, 4)
    target = torch.tensor([0, 3, 1])
    assert at_target(logits, target).tolist() == [0, 7, 9]
    assert other_logits(logits, target).tolist() == [[1, 2, 3], [4, 5, 6], [8, 10, 11]]


def test_kl_divergence_of_a_vanishing_probability_is_finite():
    """``log(softmax)`` would be ``-inf`` here; 0 log 0 counts as 0 and a missed class costs its log-probability."""
    sure, other = torch.tensor([[1000.0, 0.0]]).log_softmax(1), torch.tensor([[0.0, 1000.0]]).log_softmax(1)
    assert kl_divergence(sure, sure) == 0
    assert kl_divergence(sure, other) == 1000


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float32])
def test_full_precision_suspends_autocast(dtype):
    product = full_precision(lambda a, b: (a @ b, torch.is_autocast_enabled('cpu')))
    a, b = torch.randn(4, 4).to(dtype), torch.randn(4, 4).to(dtype)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        result, enabled = product(a, b)
        assert torch.is_autocast_enabled('cpu')
    assert not enabled
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, a.float() @ b.float(), rtol=0, atol=0)


@pytest.mark.parametrize('decorator', ['NormKD', 'LogitStandardization'])
def test_two_classes_leave_nothing_to_normalize(decorator, log):
    prepared(DISTILLERS.build(dict(type=decorator, distiller=dict(type='KD'))), 4, 3)
    assert 'always the same two numbers' not in log.text
    prepared(DISTILLERS.build(dict(type='CRLD', distiller=dict(type=decorator, distiller=dict(type='KD')))), 4, 2)
    assert log.text.count(f'{decorator} brings logits to one scale') == 1


@pytest.mark.parametrize('method', ['KD', 'DKD', 'LogitStandardization'])
def test_one_output_is_no_classifier(method):
    held = dict(distiller=dict(type='KD')) if method == 'LogitStandardization' else {}
    one = {'weak': Prediction(torch.zeros(3, 1))}
    distiller = begin(DISTILLERS.build(dict(type=method, **held)), 1)
    with pytest.raises(InputError, match='compares probabilities of classes, but the student has one output'):
        distiller(one, one, torch.zeros(3, dtype=torch.int64))
