"""Compiled networks: the same numbers, the same checkpoints, and uncompiled with a reason where it cannot be done."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

from crld_zoo.errors import InputError
from crld_zoo.models import Distillation, Teacher
from crld_zoo.networks.compilation import ForwardPass

NETWORK = 'crld_zoo::resnet8'


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )


def distillation(**options):
    torch.manual_seed(0)
    teacher_options = {key: options.pop(key) for key in ('teacher_compile',) if key in options}
    model = Distillation(
        student=dict(model=NETWORK, num_classes=5),
        distiller=dict(type='CRLD', distiller=dict(type='KD')),
        teacher=dict(model=NETWORK, num_classes=5, checkpoint='random', compile=teacher_options.get('teacher_compile')),
        data_preprocessor=dict(type='ViewPreprocessor', mean=[100.0] * 3, std=[50.0] * 3),
        **options,
    )
    return model.train()


def inputs(count=4):
    generator = torch.Generator().manual_seed(1)
    return (
        {name: torch.randn((count, 3, 8, 8), generator=generator) for name in ('weak', 'strong')},
        torch.arange(count) % 5,
    )


def gradients(model, count=4):
    losses = model(*inputs(count), mode='loss')
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()])


@pytest.mark.slow
def test_compiled_networks_train_as_uncompiled_ones():
    plain, compiled = (
        distillation(),
        distillation(compile=dict(backend='aot_eager'), teacher_compile=dict(backend='aot_eager')),
    )
    for count in (4, 4, 3):  # the last batch of an epoch may be smaller
        torch.testing.assert_close(gradients(compiled, count), gradients(plain, count), rtol=1e-4, atol=1e-6)
    for (name, one), other in zip(plain.named_buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(one, other, msg=name)
    assert compiled._call_student._compiled is not None and compiled.teacher._call._compiled is not None


def test_it_is_the_networks_own_module_tree():
    plain, compiled = distillation(), distillation(compile=True, teacher_compile=True)
    assert list(plain.state_dict()) == list(compiled.state_dict())
    assert [name for name, _ in plain.named_modules()] == [name for name, _ in compiled.named_modules()]


def test_by_default_nothing_is_compiled():
    call = ForwardPass(network(), 'student')
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(call(images), call.network(images)) and call._compiled is None


def broken_backend(graph, example_inputs):
    raise RuntimeError('no compiler here')


def test_where_the_compiler_fails_it_says_why_and_runs_uncompiled(log):
    call = ForwardPass(network().eval(), 'student', dict(backend=broken_backend))
    images = torch.randn(2, 3, 8, 8)
    for _ in range(2):
        assert torch.equal(call(images), call.network(images))
    assert log.text.count('the student runs uncompiled, since compiling it failed') == 1
    assert 'no compiler here' in log.text


def test_after_a_first_success_an_error_is_an_error():
    call = ForwardPass(network().eval(), 'student', dict(backend='eager'))
    call(torch.randn(2, 3, 8, 8))

    def fail(images):
        raise RuntimeError('the GPU has fallen off the bus')

    call._compiled = fail
    with pytest.raises(RuntimeError, match='fallen off'):
        call(torch.randn(2, 3, 8, 8))


def test_without_memory_it_is_not_tried_again():
    call = ForwardPass(network().eval(), 'student', dict(backend='eager'))

    def fail(images):
        raise torch.OutOfMemoryError('no memory')

    call._compiled = fail
    with pytest.raises(torch.OutOfMemoryError):
        call(torch.randn(2, 3, 8, 8))


def test_an_error_of_the_network_is_its_own():
    call = ForwardPass(network(), 'student', dict(backend='eager'))
    with pytest.raises(RuntimeError, match='(?i)channels'):
        call(torch.randn(2, 7, 8, 8))
    assert call.options is not None


def test_a_copy_calls_the_copy_of_the_network():
    call = ForwardPass(network().eval(), 'student', dict(backend='eager'))
    images = torch.randn(2, 3, 8, 8)
    call(images)
    for other in (copy.deepcopy(call), pickle.loads(pickle.dumps(call))):
        assert other.network is not call.network
        nn.init.zeros_(other.network[-1].weight)
        assert torch.equal(other(images), other.network[-1].bias.expand(2, 5))
    assert not torch.equal(call(images), call.network[-1].bias.expand(2, 5))


def test_a_copy_of_the_model_calls_its_own_student():
    model = distillation()
    twin = copy.deepcopy(model)
    assert twin._call_student.network is twin.student is not model.student


@pytest.mark.parametrize(
    'options', [dict(mode='fast'), dict(backend='no_such'), dict(speed=11), 'yes', 1, dict(dynamic='x')]
)
def test_impossible_options_are_refused_when_built(options):
    with pytest.raises(InputError, match='student.*torch.compile'):
        ForwardPass(network(), 'student', options)


@pytest.mark.skipif(torch.cuda.is_available(), reason='there is a GPU')
def test_without_a_gpu_graphs_are_said_to_be_impossible(log):
    Teacher(
        dict(
            type='ImageClassifier',
            backbone=dict(type='CIFARResNet', depth=8),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='LinearClsHead', num_classes=5, in_channels=64),
        ),
        'random',
        compile=dict(mode='reduce-overhead'),
    )
    assert 'is compiled without CUDA graphs, which need a GPU' in log.text


@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_graphs_train_as_uncompiled_networks(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)
    graphs = dict(mode='reduce-overhead')
    plain, captured = distillation().cuda(), distillation(compile=graphs, teacher_compile=graphs).cuda()
    for count in (4, 4, 4, 3, 4):
        results = []
        for model in (plain, captured):
            model.zero_grad()
            views, target = inputs(count)
            losses = model({name: view.cuda() for name, view in views.items()}, target.cuda(), mode='loss')
            sum(value for name, value in losses.items() if 'loss' in name).backward()
            results.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).clone())
        torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)
    assert captured._call_student._compiled is not None and captured.teacher._call._compiled is not None
