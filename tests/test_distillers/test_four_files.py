"""README's steps, followed to the letter in a copy of the repository: four files a method, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

RECIPE = '''"""{name}, ResNet56 -> ResNet20 on CIFAR-100.

Source: no paper known.
Deviation: none known.
Published top-1: 71.23 (best epoch on the test set).

python tools/train.py configs/{stem}/{stem}_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=dict(type='{name}'))
'''

LOGITS = '''"""Logits at the power of a half."""

from __future__ import annotations

from torch import Tensor

from crld_zoo.registry import DISTILLERS

from ..base import PairDistiller, Prediction, require_positive
from ..functional import per_row, soft_target


@soft_target
def hellinger_loss(logits_s: Tensor, logits_t: Tensor, *, temperature: float | Tensor) -> Tensor:
    """``T^2 sum (sqrt p_t - sqrt p_s)^2``, ``(N,)``."""
    half_s, half_t = ((logits / per_row(temperature)).log_softmax(1) / 2 for logits in (logits_s, logits_t))
    return temperature**2 * (half_s.exp() - half_t.exp()).square().sum(1)


@DISTILLERS.register_module()
class Hellinger(PairDistiller):
    """The Hellinger distance of softened probabilities."""

    has_temperature = True

    def __init__(self, temperature: float = 4.0, ce_weight: float = 1.0, kd_weight: float = 2.0, **options) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        require_positive(self, temperature=temperature)
        self.temperature = temperature

    def pair_loss(
        self, student: Prediction, teacher: Prediction, target: Tensor, *, temperature: float | Tensor
    ) -> Tensor:
        return hellinger_loss(student.logits, teacher.logits, temperature=temperature)
'''

FEATURES = '''"""Maps through a learned projection."""

from __future__ import annotations

from torch import Tensor, nn

from crld_zoo.registry import DISTILLERS

from ..base import Networks, PairDistiller, Prediction, Predictions
from ..functional import soft_target


@soft_target
def projected_loss(maps_s: Tensor, maps_t: Tensor) -> Tensor:
    """The mean squared distance of two maps of one shape, ``(N,)``."""
    return (maps_s - maps_t).square().flatten(1).mean(1)


@DISTILLERS.register_module()
class Projected(PairDistiller):
    """The teacher's last map from the student's, through a 1x1 convolution."""

    taps = ('stage3',)
    reads_logits = False

    def __init__(self, bias: bool = True, ce_weight: float = 1.0, kd_weight: float = 50.0, **options) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight, **options)
        self.bias = bias

    def setup(self, student: Predictions, teacher: Predictions, networks: Networks) -> None:
        own, other = student[self.student_view].features['stage3'], teacher[self.teacher_view].features['stage3']
        self.projection = nn.Conv2d(own.shape[1], other.shape[1], 1, bias=self.bias)

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return projected_loss(self.projection(student.features['stage3']), teacher.features['stage3'])
'''

DECORATOR = '''"""A learned temperature."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import DISTILLERS

from ..base import Distiller, PairDecorator, Prediction, require_positive


@DISTILLERS.register_module()
class Tempered(PairDecorator):
    """A decorator: any distiller with a temperature, which is learned against the loss from where it starts."""

    def __init__(self, distiller: dict | Distiller, start: float = 4.0) -> None:
        super().__init__(distiller)
        require_positive(self, start=start)
        if not self.distiller.has_temperature:
            raise InputError(f'Tempered: {type(self.distiller).__name__} has no temperature to learn.')
        self.log_temperature = nn.Parameter(torch.tensor(float(start)).log())
        self.has_temperature = False

    def pair_loss(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor:
        return self.distiller.pair(student, teacher, target, temperature=self.log_temperature.exp())
'''

TESTS = '''"""{name}."""

from crld_zoo.distillers import {name}


def test_{stem}_says_what_it_is():
    assert {name}.__doc__
'''

METHODS = dict(Hellinger=('logits', LOGITS), Projected=('features', FEATURES), Tempered=('decorators', DECORATOR))


def write(root, name: str) -> None:
    """The four files of README's steps."""
    folder, text = METHODS[name]
    stem = name.lower()
    (root / 'crld_zoo' / 'distillers' / folder / f'{stem}.py').write_text(text, encoding='utf-8')
    recipe = RECIPE.format(name=name, stem=stem)
    if folder == 'decorators':
        recipe = recipe.replace(f"dict(type='{name}')", f"dict(type='{name}', distiller=dict(type='KD'))")
    (root / 'configs' / stem).mkdir()
    (root / 'configs' / stem / f'{stem}_r56_r20_cifar100.py').write_text(recipe, encoding='utf-8')
    tests = TESTS.format(name=name, stem=stem)
    (root / 'tests' / 'test_distillers' / f'test_{stem}.py').write_text(tests, encoding='utf-8')
    readme = root / 'README.md'
    text = readme.read_text(encoding='utf-8')
    row = f'| `{name}` | made for a test | - | `configs/{stem}` | 71.23, - | - |\n'
    readme.write_text(re.sub(r'^(?=\| `CRLD` \|)', row, text, count=1, flags=re.MULTILINE), encoding='utf-8')


@pytest.mark.slow
def test_a_method_of_each_kind_costs_four_files(root, tmp_path):
    for folder in ('crld_zoo', 'configs', 'tests', 'tools', 'docs'):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns('__pycache__'))
    for file in root.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path / file.name)
    for name in METHODS:
        write(tmp_path, name)
    names = ' or '.join(METHODS)
    finished = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '-k', names]
        + ['tests/test_distillers', 'tests/test_zoo.py', 'tests/test_configs'],
        cwd=tmp_path,
        env=os.environ | dict(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-5000:]
    assert int(re.search(r'(\d+) passed', finished.stdout)[1]) > 400
