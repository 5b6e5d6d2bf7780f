"""A step's losses wait for nothing: on a GPU, every value that Python looks at would be such a wait."""

from __future__ import annotations

import pytest
import torch
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode

from crld_zoo.distillers import Prediction, Progress
from crld_zoo.registry import DISTILLERS

from ..test_distillers.cases import READS_VALUES, default_config

DISTILLERS.import_from_location()
CONFIGS = [
    default_config(name)
    for name, kind in sorted(DISTILLERS.module_dict.items())
    if kind.__module__.startswith('crld_zoo')
]
CONFIGS += [
    dict(type='CRLD', distiller=dict(type='MLLD')),
    dict(type='MLLD', variant='paper'),
    dict(type='CRLD', distiller=dict(type='DKD'), mask_by='target_view'),
]


def losses_without_values(config: dict) -> dict:
    """The losses of a batch whose tensors have a shape and a type but no values."""
    distiller = DISTILLERS.build(config)
    if distiller.student_taps or distiller.teacher_taps or distiller.needs_images:
        pytest.skip('needs more of the networks than logits')
    distiller.begin(Progress(epoch=3, iteration=20, epochs=240, iterations=2400))
    with FakeTensorMode(allow_non_fake_inputs=True):
        student = {name: Prediction(torch.randn(8, 5, requires_grad=True)) for name in ('weak', 'strong')}
        teacher = {name: Prediction(torch.randn(8, 5)) for name in ('weak', 'strong')}
        losses = distiller(student, teacher if distiller.needs_teacher else {}, torch.randint(0, 5, (8,)))
        total = sum(loss for name, loss in losses.items() if 'loss' in name)
        total.backward()
        assert student['weak'].logits.grad.shape == (8, 5)
    return losses


@pytest.mark.parametrize('config', CONFIGS, ids=str)
def test_no_distiller_looks_at_a_value(config):
    if config['type'] in READS_VALUES:
        pytest.skip('it looks at a value on the CPU, with this PyTorch')
    assert all(loss.dim() == 0 for loss in losses_without_values(config).values())


def test_a_look_would_be_seen():
    with FakeTensorMode():
        tensor = torch.randn(3)
        for look in (tensor.sum().item, tensor.tolist, lambda: bool(tensor.sum() > 0), lambda: tensor[tensor > 0]):
            with pytest.raises((DataDependentOutputException, DynamicOutputShapeException)):
                look()
