"""What somebody has who installs the wheel and no clone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.wheel


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
    options = ('--no-build-isolation', '--no-deps', '--no-index', '--quiet', '--wheel-dir', folder)
    run(sys.executable, '-m', 'pip', 'wheel', folder / 'source', *options, cwd=folder)
    (built,) = folder.glob('*.whl')
    return built


@pytest.fixture(scope='module')
def commands(root, wheel, tmp_path_factory) -> Path:
    """The commands of an environment with the wheel and what it requires, as pip finds it."""
    folder = tmp_path_factory.mktemp('environment')
    run('sh', root / 'tools' / 'make_env.sh', sys.executable, folder, f'{wheel}[demo]', cwd=wheel.parent)
    yield folder / 'bin'
    shutil.rmtree(folder)  # more than a gigabyte, which pytest would keep


def run(*arguments: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        list(map(str, arguments)),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=600,
        env={
            **{key: value for key, value in os.environ.items() if key != 'PYTHONPATH'},  # it may name the clone
            'OMP_NUM_THREADS': '1',
            'COLUMNS': '200',
        },
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_wheel_holds_every_recipe(root, wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    recipes = {f'crld_zoo/.mim/{path.relative_to(root)}' for path in (root / 'configs').rglob('*.py')}
    assert recipes <= names
    assert {'crld_zoo/py.typed', 'crld_zoo/.mim/model-index.yml'} <= names
    assert not [name for name in names if name.startswith(('tests', 'configs')) or '__pycache__' in name]


def test_the_recipes_are_listed_by_the_names_that_work(commands, tmp_path):
    output = run(commands / 'crld-zoo', 'list', 'configs', cwd=tmp_path)
    assert 'crld_zoo::quickstart/ce_r8_digits.py' in output


def test_a_recipe_is_inherited_from_and_trained_by_name(commands, tmp_path):
    (tmp_path / 'mine.py').write_text(
        "_base_ = 'crld_zoo::quickstart/ce_r8_digits.py'\ntrain_cfg = dict(max_epochs=1, val_interval=1)\n"
    )
    run(commands / 'crld-zoo', 'train', 'mine.py', cwd=tmp_path)
    assert (tmp_path / 'work_dirs' / 'mine' / 'epoch_1.pth').is_file()


def test_mmengine_finds_them_too(commands, tmp_path):
    code = (
        'import crld_zoo, mmengine.hub; cfg = mmengine.hub.get_config("crld_zoo::kd/kd_r56_r20_cifar100.py"); '
        'print(cfg.model.distiller.type, cfg.filename)'
    )
    kind, path = run(commands / 'python', '-c', code, cwd=tmp_path).splitlines()[-1].split()
    assert kind == 'KD' and Path(path).is_relative_to(commands.parent)
