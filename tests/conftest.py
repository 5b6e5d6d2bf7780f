"""Fixtures of all tests."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault('OMP_NUM_THREADS', '1')  # before torch is imported: many small networks, few cores

import pytest
import torch

import crld_zoo  # noqa: F401  its remedies come before everything of MMEngine

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


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
