"""Fixtures of all tests."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported: many small networks, few cores

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger

from . import layout  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope='session')
def shared() -> Path:
    """The folder beside the repository with real CIFAR-100 and real teachers; without it the test is skipped."""
    path = ROOT.parent / 'shared'
    if not (path / 'data').is_dir():
        pytest.skip(f'needs real data, which is not at {path}')
    return path


@pytest.fixture(scope='session')
def packs(shared):
    """The reader of the packed real data."""
    sys.path.insert(0, str(shared / 'data'))
    yield pytest.importorskip('kdpack')
    sys.path.remove(str(shared / 'data'))


@pytest.fixture(scope='session')
def cifar(shared, packs, tmp_path_factory):
    """All 60,000 images in one file of arrays."""
    path = tmp_path_factory.mktemp('cifar') / 'cifar100.npz'
    names = ('cifar100_lossless_part0.zip', 'cifar100_lossless_part1.zip')
    np.savez(path, **packs.load_mosaic([str(shared / 'data' / name) for name in names]))
    return path


@pytest.fixture
def log(caplog):
    """``log.text`` is what was said to MMEngine's current logger, which hands nothing on to Python's."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pytest_collection_finish() -> None:
    """Thousands of tests and the libraries' objects stay to the end: no collection of garbage looks through them."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process begins one when the others are done.

    Tests marked ``cuda`` need one GPU, or as many as the mark says.
    """
    slow = {item.path for item in items if item.get_closest_marker('slow')}
    items.sort(key=lambda item: item.path not in slow)
    there = torch.cuda.device_count()
    for item in items:
        mark = item.get_closest_marker('cuda')
        if mark is not None and there < (needed := mark.kwargs.get('gpus', 1)):
            item.add_marker(pytest.mark.skip(reason=f'needs {needed} GPU' + 's' * (needed > 1)))
