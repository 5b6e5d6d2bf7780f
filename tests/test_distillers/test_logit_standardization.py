"""LogitStandardization: reference numbers, the formula in loops, a number by hand, what it leaves alone."""

from __future__ import annotations

import math

import pytest
import torch

from crld_zoo.distillers import DKD, KD, MLLD, LogitStandardization, Prediction, kd_loss, normkd_loss
from crld_zoo.distillers.decorators.logit_standardization import standardize

from .testers import check_golden_row, check_oracle, close, golden, kl, random_batch, softmax, spread, total, training


def standardized(base):
    """The decorated class as a class of its own, with the options of ``base``."""
    return lambda **options: LogitStandardization(base(**options))


def pair_loss(distiller, student, teacher, target):
    return distiller.pair_loss(Prediction(student), Prediction(teacher), target)


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
    whole = LogitStandardization(DKD(**base, kd_weight=1.0))(student, teacher, target)
    with training(epoch=4):
        partly = LogitStandardization(DKD(**base, kd_weight=5.0))(student, teacher, target)
    close(partly['loss_kd'], 5 * 0.4 * whole['loss_kd'])
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
    features = (torch.randn(2, 3),)
    seen = []

    class Watching(KD):
        needs_features = True

        def pair_loss(self, student, teacher, target):
            seen.append((student.features, teacher.features))
            return super().pair_loss(student, teacher, target)

    decorated = LogitStandardization(Watching())
    assert decorated.needs_features
    decorated.pair_loss(
        Prediction(torch.randn(2, 4), features), Prediction(torch.randn(2, 4), features), torch.tensor([0, 1])
    )
    assert seen[0][0][0] is features[0] and seen[0][1][0] is features[0]
