"""A plugin from outside: a package that pip installs, found by its entry point or by a config's ``custom_imports``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "throw-away"
version = "0.0.1"

[project.entry-points."crld_zoo.plugins"]
throw_away_distillers = "throw_away.distillers"
throw_away_broken = "throw_away.broken"

[tool.setuptools]
packages = ["throw_away"]
"""

DISTILLERS = """
from crld_zoo.distillers import PairDistiller
from crld_zoo.registry import DISTILLERS


@DISTILLERS.register_module()
class LogitDistance(PairDistiller):
    '''Squared distance of the logits.'''

    def __init__(self, power: float = 2.0, ce_weight: float = 1.0, kd_weight: float = 1.0) -> None:
        super().__init__(ce_weight=ce_weight, kd_weight=kd_weight)
        self.power = power

    def pair_loss(self, student, teacher, target):
        return (student.logits - teacher.logits).abs().pow(self.power).mean(1)
"""

CONFIG = "distiller = dict(type='CRLD', distiller=dict(type='LogitDistance', power=2), tau_w=0., tau_s=0.)\n"

USE = """
import sys
import torch
import crld_zoo
from mmengine.config import Config
from crld_zoo.distillers import Prediction
from crld_zoo.errors import UnknownNameError
from crld_zoo.registry import DISTILLERS

if sys.argv[2] == 'unknown before':
    try:
        DISTILLERS.build(dict(type='LogitDistance'))
    except UnknownNameError as error:
        print(error)
distiller = DISTILLERS.build(Config.fromfile(sys.argv[1]).distiller)
ones, zeros = ({view: Prediction(torch.full((2, 3), value)) for view in ('weak', 'strong')} for value in (1., 0.))
print('within-view loss', distiller(ones, zeros, torch.tensor([0, 1]))['loss_wv'].item())
"""


@pytest.fixture(scope='module')
def package(tmp_path_factory):
    """The package's source, and its configs beside it."""
    folder = tmp_path_factory.mktemp('plugin') / 'source'
    (folder / 'throw_away').mkdir(parents=True)
    (folder / 'pyproject.toml').write_text(PROJECT)
    (folder / 'throw_away' / '__init__.py').touch()
    (folder / 'throw_away' / 'distillers.py').write_text(DISTILLERS)
    (folder / 'throw_away' / 'broken.py').write_text("raise RuntimeError('half written')\n")
    (folder / 'plain.py').write_text(CONFIG)
    (folder / 'importing.py').write_text("custom_imports = dict(imports=['throw_away.distillers'])\n" + CONFIG)
    return folder


def use(path, *arguments: str) -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, '-c', USE, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, 'PYTHONPATH': str(path)},
        cwd=path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stdout + done.stderr


def test_entry_point_makes_a_distiller_usable_by_name_and_a_broken_one_only_warns(package, tmp_path):
    shutil.copytree(package, tmp_path / 'build')  # building leaves metadata, entry points and all, beside the source
    site = tmp_path / 'site'
    subprocess.run(
        [
            sys.executable,
            '-m',
            'pip',
            'install',
            '--quiet',
            '--disable-pip-version-check',
            '--no-index',
            '--no-deps',
            '--no-build-isolation',
            '--no-compile',
            '--target',
            site,
            tmp_path / 'build',
        ],
        check=True,
    )
    printed, logged = use(site, package / 'plain.py', '')
    assert 'within-view loss 4.0' in printed  # wv_weight 2, two pairs, distance 1
    (warning,) = [line for line in logged.splitlines() if 'was not loaded' in line]
    assert 'WARNING' in warning
    assert 'plugin throw_away_broken (throw_away.broken) was not loaded' in warning
    assert 'RuntimeError: half written' in warning


def test_custom_imports_do_the_same_without_an_entry_point(package):
    printed, logged = use(package, package / 'importing.py', 'unknown before')
    assert "unknown distiller 'LogitDistance'" in printed
    assert 'custom_imports' in printed and 'entry point in crld_zoo.plugins' in printed
    assert 'within-view loss 4.0' in printed
    assert 'was not loaded' not in logged
