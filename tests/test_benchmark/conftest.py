"""A recipe of seconds: 8x8 noise, the smallest ResNet teaching another one."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from ..processes import FORKS

RECIPE = """
default_scope = 'crld_zoo'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8', num_classes=4),
    teacher=dict(model='crld_zoo::resnet8', num_classes=4, checkpoint='nowhere.pth'),
    distiller=dict(type='CRLD', distiller=dict(type='KD')),
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=[120., 110., 100.], std=[60., 61., 62.],
        views=dict(
            weak=[dict(type='RandomCrop', size=8, padding=1), dict(type='RandomFlip')],
            strong=[dict(type='RandomCrop', size=8, padding=1), dict(type='RandomFlip'), dict(type='RandAugment'),
                    dict(type='Cutout')])))
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(type='SyntheticImages', num_images=22, num_classes=4, size=8),
    sampler=dict(type='DefaultSampler', shuffle=True), collate_fn=dict(type='as_batch'))
val_dataloader = train_dataloader
val_evaluator = dict(type='Accuracy')
val_cfg = dict()
train_cfg = dict(max_epochs=1)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.01, momentum=0.9))
param_scheduler = dict(type='MultiStepLR', milestones=[1])
default_hooks = dict(teacher_accuracy=dict(type='TeacherAccuracyHook'))
"""


@pytest.fixture
def forked_sides(monkeypatch):
    """The sides of a comparison in this process start as other processes of the tests do."""
    monkeypatch.setattr(multiprocessing, 'get_context', lambda method: FORKS)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The recipe's file; the checkpoint of its teacher is not there."""
    path = tmp_path / 'recipe.py'
    path.write_text(RECIPE)
    return path
