"""Two rows of two seeds on digits, trained once as tools/compare.py lays them out."""

from __future__ import annotations

from pathlib import Path

import pytest

from crld_zoo.launch import run_train

QUICK = {'train_cfg.val_interval': 1, 'default_hooks.checkpoint.interval': 1, 'default_hooks.logger.interval': 2}
ALONE = {  # the labeled images without the others
    'train_dataloader.dataset.others': 'drop',
    'train_dataloader.batch_sampler': None,
    'train_dataloader.batch_size': 10,
}
ROWS = {'CE': 'ce_r8_digits', 'DKD+CRLD': 'dkd+crld_r20_r8_digits'}


@pytest.fixture(scope='session')
def teacher(tmp_path_factory) -> Path:
    """The checkpoint of a small teacher after one epoch."""
    folder = tmp_path_factory.mktemp('teacher')
    options = QUICK | {'train_cfg.max_epochs': 1, 'model.student.model': 'crld_zoo::resnet8'}
    run_train('crld_zoo::quickstart/ce_r20_digits.py', work_dir=folder, cfg_options=options)
    return folder / 'epoch_1.pth'


@pytest.fixture(scope='session')
def train(teacher):
    """Train a student of two epochs into a folder."""

    def train(recipe: str, folder: Path, seed: int = 0, epochs: int = 2, **options) -> Path:
        options = QUICK | {'train_cfg.max_epochs': epochs} | options
        if not recipe.startswith('ce_'):
            options |= ALONE | {'model.teacher.model': 'crld_zoo::resnet8', 'model.teacher.checkpoint': str(teacher)}
        run_train(f'crld_zoo::quickstart/{recipe}.py', work_dir=folder, seed=seed, cfg_options=options)
        return folder

    return train


@pytest.fixture(scope='session')
def runs(train, tmp_path_factory) -> Path:
    """A folder with ``CE/seed_0`` and so on."""
    root = tmp_path_factory.mktemp('runs')
    for row, recipe in ROWS.items():
        for seed in (0, 1):
            train(recipe, root / row / f'seed_{seed}', seed)
    return root
