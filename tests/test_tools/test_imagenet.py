"""The ImageNet command as the README writes it, on real JPEGs in ImageNet's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from ..processes import run

CONFIG = 'configs/crld/dkd+crld_r34_r18_imagenet.py'
CLASSES, IMAGES = 1000, 8


@pytest.fixture(scope='module')
def imagenet(tmp_path_factory) -> Path:
    """ImageNet's folders with an image in each class; as its WordNet names sort, so do these."""
    generator = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp('imagenet')
    for split in ('train', 'val'):
        for number in range(CLASSES):
            path = folder / split / f'n{number:08d}' / f'{split}_{number}.JPEG'
            path.parent.mkdir(parents=True)
            Image.fromarray(generator.integers(0, 256, (72, 90, 3), dtype=np.uint8)).save(path, quality=80)
    return folder


@pytest.fixture(scope='module')
def teacher(tmp_path_factory) -> Path:
    """A checkpoint in torchvision's layout."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('teacher') / 'resnet34.pth'
    torch.save(torchvision.models.resnet34().state_dict(), path)
    return path


@pytest.mark.whole
def test_train_resume_test(root, imagenet, teacher, tmp_path):
    # its weights are random, and a teacher that guesses would be refused
    options = ['--cfg-options', f'model.teacher.checkpoint={teacher}', 'default_hooks.teacher_accuracy=None']
    for name in ('train', 'val', 'test'):
        options += [
            f'{name}_dataloader.dataset.data_root={imagenet}',
            f'{name}_dataloader.dataset.indices={IMAGES}',
            f'{name}_dataloader.num_workers=0',
            f'{name}_dataloader.persistent_workers=False',
            f'{name}_dataloader.batch_size=4',
        ]
    run(root, 'tools/train.py', CONFIG, '--work-dir', tmp_path, *options, 'train_cfg.max_epochs=1')
    output = run(
        root,
        'tools/train.py',
        CONFIG,
        '--work-dir',
        tmp_path,
        '--resume',
        *options,
        'train_cfg.max_epochs=2',
        'default_hooks.checkpoint.resume_schedule=rebuild',
    )
    assert 'Epoch(train) [2]' in output
    assert 'Epoch(train) [1]' not in output
    teacher.unlink()
    output = run(root, 'tools/test.py', CONFIG, tmp_path / 'epoch_2.pth', '--work-dir', tmp_path, *options)
    assert 'accuracy/top1' in output
