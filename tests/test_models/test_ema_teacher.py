"""A teacher that is the average of the student."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.distillers import Progress
from crld_zoo.errors import InputError
from crld_zoo.models import EMATeacher, TeacherEnsemble
from crld_zoo.networks.sources import build_network
from crld_zoo.registry import MODELS

CLASSES, SIZE = 5, 8


def model_of(distiller, decay=0.7, **options):
    """A small fp64 Distillation whose teacher is its student's average."""
    torch.manual_seed(0)
    model = MODELS.build(
        dict(
            type='Distillation',
            student=dict(model='crld_zoo::resnet8', num_classes=CLASSES, **options.pop('student', {})),
            teacher=dict(type='EMATeacher', decay=decay, **options.pop('teacher', {})),
            distiller=distiller,
            data_preprocessor=dict(type='ViewPreprocessor', mean=[0.0] * 3, std=[255.0] * 3, image_size=SIZE),
            **options,
        )
    ).double()
    model.train()
    model.distiller.begin(Progress(epoch=1, iteration=0, epochs=2, iterations=8))
    return model


def images(seed: int, count: int = 4) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(count, 3, SIZE, SIZE, generator=generator, dtype=torch.float64) for name in ('weak', 'strong')
    }


def step(model, seed: int, lr: float = 0.1, labels=(0, 1, 2, 3)) -> None:
    """One step of SGD, all of it but the end: ``observe``."""
    losses = model(images(seed), torch.tensor(labels), mode='loss')
    gradients = torch.autograd.grad(
        sum(value for key, value in losses.items() if 'loss' in key), [*model.student.parameters()]
    )
    with torch.no_grad():
        for weight, gradient in zip(model.student.parameters(), gradients, strict=True):
            weight -= lr * gradient


def tensors(network) -> dict:
    return {name: value.detach().clone() for name, value in [*network.named_parameters(), *network.named_buffers()]}


def equal(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_average_in_a_loop():
    """By hand, in Python: the plain mean while ``1 - 1 / (t + 1) <= 0.7``, then a decay of 0.7."""
    model = model_of(dict(type='KD'))
    expected = tensors(model.student)
    for t, share in enumerate((1 / 2, 2 / 3, 0.7, 0.7, 0.7), 1):
        step(model, t)
        model.observe()
        now = tensors(model.student)
        for name, value in expected.items():
            expected[name] = share * value + (1 - share) * now[name] if value.is_floating_point() else now[name]
        found = tensors(model.teacher.network)
        assert model.teacher.steps == t
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-12, atol=1e-12)
    assert not torch.equal(found['backbone.conv1.weight'], now['backbone.conv1.weight'])
    means = [name for name in found if name.endswith('running_mean')]
    assert means and not any(torch.equal(found[name], now[name]) for name in means)


def test_it_begins_as_the_student_that_is_trained():
    """Whose weights may be loaded after the model is built."""
    model = model_of(dict(type='KD'))
    with torch.no_grad():
        for weight in model.student.parameters():
            weight.mul_(1.5)
    begin = tensors(model.student)
    step(model, 0)
    assert equal(tensors(model.teacher.network), begin)
    assert not equal(tensors(model.student), begin)


@pytest.mark.parametrize('how', ['skipped', 'accumulated'])
def test_what_is_no_step_leaves_it_as_it_is(how):
    model = model_of(dict(type='KD'))
    step(model, 0)
    model.observe()
    before = tensors(model.teacher.network)
    step(model, 1)
    model.observe(**{how: True})
    assert equal(tensors(model.teacher.network), before) and model.teacher.steps == 1
    step(model, 2)
    model.observe()
    assert not equal(tensors(model.teacher.network), before) and model.teacher.steps == 2


def test_it_teaches_as_any_teacher():
    """CRLD's masks and pseudo-labels on it: the losses are those with a frozen teacher of the same weights."""
    model = model_of(dict(type='CRLD', distiller=dict(type='DKD'), tau_w=0.221, tau_s=0.221))
    for seed in range(2):
        step(model, seed)
        model.observe()
    frozen = MODELS.build(
        dict(
            type='Distillation',
            student=model.student,
            teacher=dict(model=model.teacher.network, fold=False),
            distiller=dict(type='CRLD', distiller=dict(type='DKD'), tau_w=0.221, tau_s=0.221),
            data_preprocessor=dict(type='ViewPreprocessor', mean=[0.0] * 3, std=[255.0] * 3),
        )
    ).train()
    frozen.distiller.begin(Progress(epoch=1, iteration=0, epochs=2, iterations=8))
    target = torch.tensor([1, -1, 2, -1])
    ours, theirs = (each(images(7), target, mode='loss') for each in (model, frozen))
    assert ours.keys() == theirs.keys() and 0 < ours['keep_weak'] < 1
    for name, value in theirs.items():
        torch.testing.assert_close(ours[name], value)


def test_features_are_those_of_its_weights_now():
    model = model_of(dict(type='CATKD', cam_resolution=2))
    step(model, 0, lr=1.0)
    model.observe()
    view = images(3)['weak']
    logits, features = model.teacher.extract(view)
    bias = [*model.teacher.network.parameters()][-1]
    torch.testing.assert_close(features['class_maps:nobias'].mean((2, 3)) + bias, logits)
    torch.testing.assert_close(logits, model.teacher.network(view))


def test_gradients_to_the_images_go_through_it():
    model = model_of(dict(type='KDIGA'))
    for seed in range(2):
        step(model, seed)
        model.observe()
    assert model.teacher.steps == 2
    assert all(weight.grad is None and not weight.requires_grad for weight in model.teacher.parameters())


def test_it_is_in_eval_mode_and_in_no_checkpoint():
    model = model_of(dict(type='KD'))
    assert model.teacher.train() is model.teacher
    assert not any(module.training for module in model.teacher.modules())
    assert model.state_dict().keys() == {*model.student.state_dict().keys()}
    assert not {id(weight) for weight in model.teacher.parameters()} & {id(weight) for weight in model.parameters()}
    assert all(value.dtype == torch.float32 for value in model.float().teacher.parameters())


def test_a_loop_that_forgets_it_is_told():
    model = model_of(dict(type='KD'))
    step(model, 0)
    with pytest.raises(InputError, match=r'^EMATeacher keeps what it saw .* model.observe\(\) after every step'):
        step(model, 1)


def test_it_goes_on_with_what_it_saved():
    model = model_of(dict(type='KD'))
    for seed in range(2):
        step(model, seed)
        model.observe()
    other = EMATeacher(model.student, decay=0.7)
    other.resume(model.teacher.saved())
    other.begin()
    assert other.steps == 2 and equal(tensors(other.network), tensors(model.teacher.network))
    wider = EMATeacher(build_network('crld_zoo::resnet8', num_classes=CLASSES + 1, checkpoint='random'))
    for saved in ({}, model.teacher.saved()):
        with pytest.raises(InputError, match='does not hold the average of this student'):
            wider.resume(saved)


HEAD = dict(type='TeacherHead', teacher_channels=64)


@pytest.mark.parametrize(
    ('distiller', 'options', 'said'),
    [
        ('KD', dict(decay=1.0), 'decay=1.0 of EMATeacher'),
        ('KD', dict(decay=-0.1), 'decay=-0.1 of EMATeacher'),
        ('KD', dict(teacher=dict(cache='kept')), 'none can be kept: leave cache out'),
        ('KD', dict(graph=True), 'EMATeacher changes between the steps'),
        ('OFD', {}, 'OFD takes something of the teacher before'),
        ('SimKD', dict(student=dict(head=HEAD)), 'SimKD takes something of the teacher before'),
        (dict(type='SSKD', head='random'), {}, 'SSKD takes something of the teacher before'),
        (dict(type='Sum', distillers=[dict(type='KD'), dict(type='OFD')]), {}, 'Sum takes something of the teacher'),
        (dict(type='CRLD', distiller=dict(type='OFD')), {}, 'CRLD takes something of the teacher'),
    ],
)
def test_what_does_not_go_with_it_is_refused(tmp_path, monkeypatch, distiller, options, said):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=said) as error:
        model_of(dict(type=distiller) if isinstance(distiller, str) else distiller, **options)
    assert '\n' not in str(error.value)
    assert not [*tmp_path.iterdir()]


def test_it_is_no_member_of_an_ensemble():
    with pytest.raises(InputError, match='name it as model.teacher itself'):
        TeacherEnsemble([dict(type='EMATeacher')])
