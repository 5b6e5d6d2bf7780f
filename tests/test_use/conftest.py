"""A tiny run on a tree of JPEGs, trained once."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from crld_zoo.launch import run_train

CLASSES = ('blue', 'green', 'red')

CONFIG = """
data_preprocessor = dict(
    type='ViewPreprocessor', mean=[120.0, 110.0, 100.0], std=[60.0, 61.0, 62.0],
    views=dict(weak=[dict(type='RandomCrop', size=16, padding=2)]))
model = dict(
    type='Distillation', student={student}, distiller=dict(type='CrossEntropy'), data_preprocessor=data_preprocessor)
loader = dict(batch_size=8, num_workers=0, collate_fn=dict(type='as_batch'))
train_dataloader = dict(
    **loader, dataset=dict(type='ImageFolder', data_root='{images}/train', size=16),
    sampler=dict(type='DefaultSampler', shuffle=True))
val_dataloader = dict(
    **loader, dataset=dict(type='ImageFolder', data_root='{images}/val', size=16),
    sampler=dict(type='DefaultSampler', shuffle=False))
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk=(1,))]
test_evaluator = val_evaluator
train_cfg = dict(by_epoch=True, max_epochs=1)
val_cfg = dict()
test_cfg = dict()
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9))
default_hooks = dict(checkpoint=dict(type='CheckpointHook', interval=1))
default_scope = 'crld_zoo'
randomness = dict(seed=0)
"""
RESNET = "dict(model='crld_zoo::resnet8', num_classes=3)"


@pytest.fixture(scope='session')
def images(tmp_path_factory) -> Path:
    """``train`` and ``val``, each with twelve JPEGs of three classes: noise in which one color is stronger."""
    root = tmp_path_factory.mktemp('jpegs')
    random = np.random.default_rng(0)
    for split in ('train', 'val'):
        for channel, name in enumerate(reversed(CLASSES)):
            (root / split / name).mkdir(parents=True)
            for index in range(12):
                pixels = random.integers(0, 200, (20 + index, 24, 3), dtype=np.uint8)
                pixels[..., channel] += np.uint8(index * 4)
                Image.fromarray(pixels).save(root / split / name / f'{index}.jpg')
    return root


@pytest.fixture(scope='session')
def train(images, tmp_path_factory):
    """Train one epoch of a student; the folder of the run."""

    def train(student: str) -> Path:
        folder = tmp_path_factory.mktemp('run')
        config = folder / 'tiny.py'
        config.write_text(CONFIG.format(student=student, images=images))
        run_train(config, work_dir=folder / 'work')
        return folder / 'work'

    return train


@pytest.fixture(scope='session')
def trained(train) -> Path:
    return train(RESNET)


@pytest.fixture
def run(trained, tmp_path) -> Path:
    """A copy of the run, to write into, as it is before it hands its student on."""
    return Path(shutil.copytree(trained, tmp_path / 'work', ignore=shutil.ignore_patterns('student.*')))
