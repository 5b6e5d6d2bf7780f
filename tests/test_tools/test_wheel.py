"""What somebody has who installs the wheel and no clone."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def wheel(root, tmp_path_factory) -> Path:
    """The wheel of a copy of the tracked files, so that nothing is left in the clone."""
    folder = tmp_path_factory.mktemp('wheel')
    tracked = subprocess.run(['git', 'ls-files', '-z'], cwd=root, capture_output=True)
    if tracked.returncode:
        pytest.skip('the tests run outside of a clone')
    for name in tracked.stdout.decode().split('\0')[:-1]:
        if name.startswith(('crld_zoo/', 'configs/')) or '/' not in name:
            (folder / 'source' / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / 'source' / name).write_bytes((root / name).read_bytes())
    pip('wheel', folder / 'source', '--no-build-isolation', '--wheel-dir', folder)
    (built,) = folder.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('installed')
    pip('install', wheel, '--target', folder)
    return folder


def pip(*arguments: str | Path) -> None:
    done = subprocess.run(
        [sys.executable, '-m', 'pip', *map(str, arguments), '--no-deps', '--no-index', '--quiet'],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def python(folder: Path, *arguments: str, cwd: Path) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, 'PYTHONPATH': str(folder), 'OMP_NUM_THREADS': '1', 'COLUMNS': '200'},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_recipe(root, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f'crld_zoo/.mim/{path.relative_to(root)}' for path in (root / 'configs').rglob('*.py')}
    assert recipes <= names
    assert {'crld_zoo/py.typed', 'crld_zoo/.mim/model-index.yml'} <= names
    assert not [name for name in names if name.startswith(('tests', 'configs')) or '__pycache__' in name]


def test_the_recipes_are_listed_by_the_names_that_work(installed, tmp_path):
    output = python(installed, '-m', 'crld_zoo.launch.cli', 'list', 'configs', cwd=tmp_path)
    assert 'crld_zoo::quickstart/ce_r8_digits.py' in output


def test_a_recipe_is_inherited_from_and_trained_by_name(installed, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'crld_zoo::quickstart/ce_r8_digits.py'\ntrain_cfg = dict(max_epochs=1, val_interval=1)\n"
    )
    python(installed, '-m', 'crld_zoo.launch.cli', 'train', 'mine.py', cwd=tmp_path)
    assert (tmp_path / 'work_dirs' / 'mine' / 'epoch_1.pth').is_file()


def test_mmengine_finds_them_too(installed, tmp_path):
    code = (
        'import crld_zoo, mmengine.hub; cfg = mmengine.hub.get_config("crld_zoo::kd/kd_r56_r20_cifar100.py"); '
        'print(cfg.model.distiller.type, cfg.filename)'
    )
    kind, path = python(installed, '-c', code, cwd=tmp_path).splitlines()[-1].split()
    assert kind == 'KD' and Path(path).is_relative_to(installed)
