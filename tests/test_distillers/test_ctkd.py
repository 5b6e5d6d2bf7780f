"""CTKD: reference numbers with the gradient of theta, the schedule, bad input."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers import CTKD, KD
from crld_zoo.errors import InputError

from .testers import _views, begin, close, golden, leaf, random_batch, total

ALTERNATIVES = dict(distiller=dict(type='DKD', temperature=3.0))
HELD = dict(
    ctkd_kd=lambda row: dict(type='KD', ce_weight=0.0, kd_weight=1.0),
    ctkd_std=lambda row: dict(type='LogitStandardization', distiller=dict(type='KD', ce_weight=0.0, kd_weight=1.0)),
    ctkd_dkd=lambda row: dict(
        type='DKD', ce_weight=0.0, warmup=0, alpha=row['params']['alpha'], beta=row['params']['beta']
    ),
)


@pytest.mark.parametrize('row', [row for name in HELD for row in golden(name)])
def test_reference_numbers(row):
    params = row['params']
    options = {name: params[name] for name in ('theta', 't_start', 't_end')}
    distiller = CTKD(HELD[row['method']](row), decay_max=0.0, decay_min=params['lambda_'], **options).double()
    begin(distiller, 240)
    student, teacher = leaf(row['logits_student']), leaf(row['logits_teacher']).detach()
    loss = total(distiller(_views(student), _views(teacher), torch.tensor(row['target'])))
    loss.backward()
    close(distiller.learned_temperature(), row['temperature'])
    close(loss, row['loss'])
    close(student.grad, row['grad_student'])
    close(distiller.theta.grad, row['grad_theta_as_applied'])


@pytest.mark.parametrize('row', golden('ctkd_cosine_lambda'))
def test_strength_by_epoch(row):
    distiller = CTKD(dict(type='KD'), **row['params'])
    for epoch, value in zip(row['epochs'], row['values'], strict=True):
        begin(distiller, epoch)
        close(distiller.strength, value)


def test_a_distiller_without_a_temperature_is_refused():
    for held in (dict(type='LogitMSE'), dict(type='NormKD'), dict(type='CTKD', distiller=dict(type='KD'))):
        with pytest.raises(InputError, match='CTKD learns a temperature, but .* has none that can be replaced'):
            CTKD(held)


def test_it_says_that_it_was_never_told_the_epoch():
    student, teacher, target = random_batch(4, 5)
    with pytest.raises(InputError, match='CTKD follows a schedule and was never told the epoch'):
        CTKD(dict(type='KD'))(student, teacher, target)
    CTKD(dict(type='KD')).eval()(student, teacher, target)


def test_theta_is_a_parameter_and_the_strength_is_no_state():
    assert [*CTKD(KD()).state_dict()] == ['theta']
