"""Faster arithmetic against the exact one, on real images: step by step at the same weights, and trained for itself."""

from __future__ import annotations

import contextlib
import itertools
import json
import statistics
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from crld_zoo.config_files import read_config
from crld_zoo.launch import run_train
from crld_zoo.registry import MODELS

STEPS = 100
WAYS = ('bf16', 'bf16_teacher', 'compiled')


class Step(NamedTuple):
    """What a step would do: its loss and the student's whole gradient."""

    loss: float
    gradient: Tensor


class Gaps(NamedTuple):
    """How far steps are from the exact ones, as shares of these: a mean, a median and a mean over the steps.

    Attributes:
        loss: Of the loss.
        gradient: Length of the difference of the two gradients.
        progress: How much further the gradient goes along the exact one.
    """

    loss: float
    gradient: float
    progress: float


LIMITS = dict(  # about three times what was measured
    bf16=Gaps(loss=0.005, gradient=0.1, progress=0.006),
    bf16_teacher=Gaps(loss=0.005, gradient=0.02, progress=0.003),
    compiled=Gaps(loss=1e-4, gradient=1e-3, progress=1e-4),
)


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        yield


def batches(cfg: Config, model: nn.Module) -> Iterator[dict]:
    """A recipe's training images as the model takes them."""
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    for epoch in itertools.count():
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            yield model.data_preprocessor(batch, True)


def look(model: nn.Module, batch: dict, context=contextlib.nullcontext) -> Step:
    with context():
        losses = model(**batch, mode='loss')
    loss, _ = model.parse_losses(losses)
    gradients = torch.autograd.grad(loss, list(model.student.parameters()))
    return Step(loss.item(), torch.cat([gradient.flatten() for gradient in gradients]))


class Training:
    """SGD by hand, on whole gradients."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = list(model.student.parameters())
        self.optimizer = torch.optim.SGD(self.parameters, lr=0.05, momentum=0.9)

    def apply(self, gradient: Tensor) -> None:
        parts = gradient.split([parameter.numel() for parameter in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter).clone()
        self.optimizer.step()


def both(cfg: Config, way: str) -> list[tuple[Step, Step]]:
    """Each step of a training in the exact arithmetic, and what it would be in the other one."""
    exact = MODELS.build(cfg.model).train()
    teacher, options, context = dict(cfg.model.teacher), {}, contextlib.nullcontext
    if way == 'bf16':
        context = lambda: torch.autocast('cpu', torch.bfloat16)  # noqa: E731
    elif way == 'bf16_teacher':
        teacher['dtype'] = 'bfloat16'
    elif way == 'compiled':
        teacher['compile'] = options['compile'] = True
    other = MODELS.build({**cfg.model, 'student': exact.student, 'teacher': teacher, **options}).train()
    training, found = Training(exact), []
    for batch in itertools.islice(batches(cfg, exact), STEPS):
        found.append((look(exact, batch), look(other, batch, context)))
        training.apply(found[-1][0].gradient)
    return found


def gaps(steps: list[tuple[Step, Step]]) -> Gaps:
    def length(gradient: Tensor) -> float:
        return gradient.norm().item()

    return Gaps(
        loss=statistics.mean(other.loss / exact.loss - 1 for exact, other in steps),
        gradient=statistics.median(
            length(other.gradient - exact.gradient) / length(exact.gradient) for exact, other in steps
        ),
        progress=statistics.mean(
            (other.gradient @ exact.gradient).item() / length(exact.gradient) ** 2 - 1 for exact, other in steps
        ),
    )


def is_near(found: Gaps, limits: Gaps) -> bool:
    print(found)
    return all(abs(gap) <= limit for gap, limit in zip(found, limits, strict=True))


@pytest.fixture(scope='module')
def digits(root, tmp_path_factory) -> Config:
    """KD of a teacher that has learned something about handwritten digits."""
    checkpoint = tmp_path_factory.mktemp('teacher') / 'resnet20.pth'
    cfg = read_config(root / 'configs/quickstart/ce_r20_digits.py')
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        teacher = MODELS.build(cfg.model).train()
        training = Training(teacher)
        for batch in itertools.islice(batches(cfg, teacher), STEPS):
            step = look(teacher, batch)
            training.apply(step.gradient)
    assert step.loss < 1, 'less than half of what a guess has'
    torch.save(teacher.student.state_dict(), checkpoint)
    cfg = read_config(root / 'configs/quickstart/kd_r20_r8_digits.py')
    cfg.train_dataloader.pop('batch_sampler')  # an order that a sampler alone decides, of labeled images
    cfg.train_dataloader.dataset.others = 'drop'
    cfg.train_dataloader.batch_size = 10
    cfg.model.teacher.checkpoint = str(checkpoint)
    return cfg


@pytest.fixture(scope='module')
def in_bf16(digits) -> list[tuple[Step, Step]]:
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        return both(digits, 'bf16')


def test_steps_in_bf16_are_near_the_exact_ones(in_bf16):
    found = gaps(in_bf16)
    assert found.gradient > 0.001, 'it was no other arithmetic'
    assert is_near(found, LIMITS['bf16'])


def test_steps_after_a_teacher_in_bf16_are_near_the_exact_ones(digits):
    found = gaps(both(digits, 'bf16_teacher'))
    assert found.gradient > 0.001, 'it was no other arithmetic'
    assert is_near(found, LIMITS['bf16_teacher'])


@pytest.mark.parametrize(
    'wrong',
    [
        lambda step: step._replace(loss=1.01 * step.loss),
        lambda step: step._replace(gradient=1.01 * step.gradient),
        lambda step: step._replace(gradient=step.gradient * (torch.rand_like(step.gradient) > 0.02)),
    ],
    ids=['loss', 'length', 'lost'],
)
def test_a_wrong_arithmetic_is_noticed(in_bf16, wrong):
    assert not is_near(gaps([(exact, wrong(other)) for exact, other in in_bf16]), LIMITS['bf16'])


def of_cifar(root, shared, cifar, recipe: str) -> tuple[Config, dict]:
    """A recipe for CIFAR-100 with a trained ResNet20 and a ResNet8, and what was changed."""
    changes = {
        'model.student.model': 'crld_zoo::resnet8',
        'model.teacher.model': 'crld_zoo::resnet20',
        'model.teacher.checkpoint': str(shared / 'data' / 'checkpoints' / 'cifar100_resnet20.pth'),
        **{f'{split}_dataloader.dataset.data_file': str(cifar) for split in ('train', 'val')},
    }
    cfg = read_config(root / 'configs' / recipe)
    cfg.merge_from_dict(changes)
    return cfg, changes


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.parametrize('way', WAYS)
def test_steps_on_cifar_are_near_the_exact_ones(root, shared, cifar, way):
    cfg, _ = of_cifar(root, shared, cifar, 'kd/kd_r56_r20_cifar100.py')
    found = gaps(both(cfg, way))
    assert found.gradient > 0, 'it was no other arithmetic'
    assert is_near(found, LIMITS[way])


SEEDS = (0, 1, 2, 3, 4)
OPTIONS = dict(
    exact=dict(),
    bf16=dict(amp=True),
    bf16_teacher=dict(cfg_options={'model.teacher.dtype': 'bfloat16'}),
    compiled=dict(cfg_options={'model.compile': True, 'model.teacher.compile': True}),
)
LOST = 0.2  # share of the accuracy


def train(cfg_file, changes: dict, work_dir, seed: int, amp: bool = False, cfg_options: dict | None = None) -> float:
    """The top-1 accuracy in percent on all 10,000 test images after two epochs on 10,000 images."""
    run_train(
        cfg_file,
        work_dir,
        amp=amp,
        seed=seed,
        cfg_options={
            **changes,
            'train_cfg.max_epochs': 2,
            'train_cfg.val_interval': 2,
            'train_dataloader.dataset.fraction': 0.2,
            'default_hooks.teacher_accuracy': None,
            **(cfg_options or {}),
        },
    )
    records = [json.loads(line) for path in work_dir.rglob('scalars.json') for line in path.read_text().splitlines()]
    return records[-1]['accuracy/top1']


@pytest.mark.data
@pytest.mark.slow
def test_no_way_loses_a_fifth_of_the_accuracy(root, shared, cifar, tmp_path):
    """Runs of one seed see the same images, so their differences are taken; too much noise fails, and passes nothing.

    The mean difference over the seeds and three standard errors of it must stay within a fifth of the accuracy: a way
    that loses as much passes one time in fifty.
    """
    recipe = 'crld/kd+crld_r56_r20_cifar100.py'
    _, changes = of_cifar(root, shared, cifar, recipe)
    found = {
        way: [train(root / 'configs' / recipe, changes, tmp_path / f'{way}_{seed}', seed, **options) for seed in SEEDS]
        for way, options in OPTIONS.items()
    }
    print(found)
    exact = found.pop('exact')
    assert statistics.mean(exact) > 5, 'five times chance: they have learned'
    for way, accuracies in found.items():
        assert accuracies != exact, f'{way} was really another arithmetic'
        differences = [one - other for one, other in zip(accuracies, exact, strict=True)]
        error = statistics.stdev(differences) / len(SEEDS) ** 0.5
        assert abs(statistics.mean(differences)) + 3 * error <= LOST * statistics.mean(exact), found
