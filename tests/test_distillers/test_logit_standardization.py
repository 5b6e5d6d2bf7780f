"""LogitStandardization: reference numbers, the formula in loops, a number by hand, what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import DKD, KD, MLLD, LogitStandardization, Prediction, kd_loss, normkd_loss
from crld_zoo.distillers.decorators.logit_standardization import standardize
from crld_zoo.errors import InputError

from .testers import begin, check_golden_row, check_oracle, close, golden, kl, random_batch, softmax, spread, total

WHERE = dict(level=dict(distiller=dict(type='MLLD')))


def standardized(base):
    """The decorated class as a class of its own, with the options of ``base``."""
    return lambda **options: LogitStandardization(base(**options))


def pair_loss(distiller, student, teacher, target):
    return begin(distiller, 240).pair(Prediction(student), Prediction(teacher), target)


@pytest.mark.parametrize('row', golden('logit_standardization_kd'))
def test_reference_numbers_with_kd(row):
    check_golden_row(
        row, lambda s, t, target, **options: pair_loss(standardized(KD)(**options), s, t, target), standardized(KD)
    )


@pytest.mark.parametrize('row', golden('logit_standardization_dkd'))
def test_reference_numbers_with_dkd(row):
    check_golden_row(
        row, lambda s, t, target, **options: pair_loss(standardized(DKD)(**options), s, t, target), standardized(DKD)
    )


def test_formula_in_loops():
    def scaled(row):
        mean = sum(row) / len(row)
        return [(z - mean) / (spread(row) + 1e-7) for z in row]

    def oracle(student, teacher, _, temperature):
        return temperature**2 * kl(softmax(scaled(teacher), temperature), softmax(scaled(student), temperature))

    check_oracle(
        lambda s, t, target, temperature: pair_loss(LogitStandardization(KD(temperature)), s, t, target),
        oracle,
        temperature=2.0,
    )


def test_number_by_hand():
    # (1, 2, 3) has mean 2 and unbiased std 1: (-1, 0, 1). (6, 4, 2): (1, 0, -1). T = 1:
    # log p_t - log p_s = z_t - z_s = (-2, 0, 2), so KL = 2 (p_t[2] - p_t[0]) with p_t = (1/e, 1, e) / (1/e + 1 + e).
    loss = pair_loss(
        LogitStandardization(KD(temperature=1.0)),
        torch.tensor([[6.0, 4.0, 2.0]]).double(),
        torch.tensor([[1.0, 2.0, 3.0]]).double(),
        torch.tensor([0]),
    )
    close(loss, [2 * (math.e - 1 / math.e) / (1 / math.e + 1 + math.e)], rtol=1e-6)  # 1e-7 is added to the std


def test_standardized_logits_leave_kd():
    student, teacher, target = random_batch(6, 5)
    s, t = standardize(student['weak'].logits.detach()), standardize(teacher['weak'].logits)
    close(pair_loss(LogitStandardization(KD(temperature=2.0)), s, t, target), kd_loss(s, t, temperature=2.0), rtol=1e-5)


def test_normkd_on_standardized_logits_is_kd():
    """With the standard deviation 1, NormKD's temperature is ``temperature_norm`` for every sample."""
    student, teacher, _ = random_batch(6, 5)
    s, t = standardize(student['weak'].logits), standardize(teacher['weak'].logits)
    close(normkd_loss(s, t, temperature_norm=1.7), kd_loss(s, t, temperature=1.7), rtol=1e-5)


@pytest.mark.parametrize('value', [0.0, 0.1, -37.3])
def test_constant_logits_learn_at_an_ordinary_rate(value):
    """They become 0; without a floor the gradient would be ten million times that of KD."""
    _, teacher, target = random_batch(6, 5)
    student = torch.full((6, 5), value, requires_grad=True)
    loss = pair_loss(LogitStandardization(KD(temperature=2.0)), student, teacher['weak'].logits.float(), target)
    loss.sum().backward()
    p_t = (standardize(teacher['weak'].logits) / 2).softmax(1)
    torch.testing.assert_close(student.grad, (2 * (1 / 5 - p_t)).float(), rtol=1e-4, atol=1e-5)


def test_label_loss_keeps_the_raw_logits():
    student, teacher, target = random_batch(6, 5)
    decorated = LogitStandardization(KD(temperature=2.0, ce_weight=0.1, kd_weight=9.0))(student, teacher, target)
    plain = KD(ce_weight=0.1)(student, teacher, target)
    close(decorated['loss_ce'], plain['loss_ce'])


def test_weights_views_and_warmup_of_the_decorated_remain():
    student, teacher, target = random_batch(6, 5)
    base = dict(temperature=2.0, beta=3.0, warmup=10)
    full = begin(LogitStandardization(DKD(**base, kd_weight=1.0)), 240)(student, teacher, target)
    partly = begin(LogitStandardization(DKD(**base, kd_weight=5.0)), 4)(student, teacher, target)
    close(partly['loss_kd'], 5 * 0.4 * full['loss_kd'], rtol=1e-7)
    assert LogitStandardization(KD()).views == ('weak',)


def test_two_view_method_sees_standardized_logits_of_both_views():
    student, teacher, target = random_batch(6, 5)
    decorated = LogitStandardization(MLLD(variant='paper'))
    assert decorated.views == ('weak', 'strong')
    assert not decorated.per_sample

    def scaled(views):
        return {view: Prediction(standardize(p.logits)) for view, p in views.items()}

    losses, plain = decorated(student, teacher, target), MLLD(variant='paper')
    expected = plain.distill(scaled(student), scaled(teacher), target)
    close(total(losses), total(expected) + plain(student, teacher, target)['loss_ce'])


def test_features_pass_through():
    features = {'stage1': torch.randn(2, 3)}
    seen = []

    class Watching(KD):
        taps = ('stage1',)

        def pair_loss(self, student, teacher, target, *, temperature):
            seen.append((student.features, teacher.features))
            return super().pair_loss(student, teacher, target, temperature=temperature)

    decorated = LogitStandardization(Watching())
    assert decorated.taps == decorated.student_taps == decorated.teacher_taps == ('stage1',)
    prediction = Prediction(torch.randn(2, 4), features)
    decorated.pair(prediction, prediction, torch.tensor([0, 1]))
    assert seen == [(features, features)]


def test_only_mlld_has_an_instance_level():
    with pytest.raises(InputError, match='KD has no instance level apart from others'):
        LogitStandardization(KD(), level='instance')


def test_instance_level_alone_leaves_the_other_levels_raw():
    student, teacher, target = random_batch(6, 5)
    part, everything = (
        LogitStandardization(MLLD(), level=level)(student, teacher, target) for level in ('instance', 'all')
    )
    raw = MLLD()(student, teacher, target)
    close(part['loss_bc'], raw['loss_bc'])
    close(part['loss_cc'], raw['loss_cc'])
    assert not torch.isclose(part['loss_kd'], raw['loss_kd'])
    assert not torch.isclose(everything['loss_bc'], raw['loss_bc'])
