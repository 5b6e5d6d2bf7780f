"""Sum: its terms are those of what it holds, in one dict and under decorators."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers import CTKD, DKD, KD, MLLD, LogitStandardization, Sum
from crld_zoo.errors import InputError

from .testers import begin, close, random_batch, total

REQUIRED = dict(distillers=[dict(type='KD'), dict(type='DKD')])
ALTERNATIVES = dict(distillers=[dict(type='KD'), dict(type='KD')])


def test_one_cross_entropy_and_each_term_with_its_own_weight():
    student, teacher, target = random_batch(5, 6)
    held = [KD(kd_weight=0.3), DKD(kd_weight=2.0, warmup=10), KD(temperature=2.0, student_view='strong')]
    losses = begin(Sum(held, ce_weight=0.7), 5)(student, teacher, target)
    assert list(losses) == ['loss_ce', 'loss_kd', 'loss_dkd', 'loss_kd_2']
    for name, each in zip(list(losses)[1:], held, strict=True):
        close(losses[name], each(student, teacher, target)['loss_kd'])
    views = ('weak', 'strong')
    close(losses['loss_ce'], 0.7 * sum(KD(ce_weight=1.0, student_view=v).label_loss(student, target) for v in views))


def test_a_method_of_several_terms_names_each():
    student, teacher, target = random_batch(5, 6)
    losses = Sum([MLLD(), KD()])(student, teacher, target)
    assert list(losses) == ['loss_ce', 'loss_mlld', 'loss_cc_mlld', 'loss_bc_mlld', 'loss_kd']
    close(
        total(losses) - losses['loss_ce'],
        sum(sum(d.distill(student, teacher, target).values()) for d in (MLLD(), KD())),
    )


def test_under_a_decorator_it_is_one_pair_loss():
    student, teacher, target = random_batch(5, 6)
    held = [KD(), DKD(warmup=0, kd_weight=0.4)]
    loss = LogitStandardization(Sum(held)).pair(student['weak'], teacher['weak'], target)
    close(loss, sum(d.kd_weight * LogitStandardization(d).pair(student['weak'], teacher['weak'], target) for d in held))


def test_a_learned_temperature_reaches_all():
    student, teacher, target = random_batch(5, 6)
    distiller = begin(CTKD(Sum([KD(), DKD(warmup=0)])), 3)
    tau = distiller.learned_temperature()
    expected = sum(
        d.kd_weight * d.pair(student['weak'], teacher['weak'], target, temperature=tau) for d in (KD(), DKD(warmup=0))
    )
    close(distiller.pair(student['weak'], teacher['weak'], target), expected)


@pytest.mark.parametrize(
    ('held', 'why'),
    [
        ([], 'at least one'),
        ([dict(type='CRLD', distiller=dict(type='KD'))], 'several views'),
        ([torch.nn.Linear(1, 1)], 'no distiller'),
    ],
)
def test_what_cannot_be_held_is_refused(held, why):
    with pytest.raises(InputError, match=why):
        Sum(held)
