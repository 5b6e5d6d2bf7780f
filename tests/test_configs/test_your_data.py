"""From a folder of JPEGs to a distilled student, with the two commands that the recipes name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from crld_zoo.networks.sources import build_network
from crld_zoo.registry import MODELS

from ..processes import run
from .recipes import load

TEACHER, STUDENT = 'your_data/ce_r34_folder', 'your_data/dkd+crld_r34_r18_folder'
QUICK = [
    'default_hooks.teacher_accuracy=None',  # an epoch makes no teacher, and one that guesses is refused
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=4',
    'train_dataloader.dataset.size=40',
    'val_dataloader.dataset.size=32',
    'test_dataloader.dataset.size=32',
    *(f'model.data_preprocessor.views.{view}.0.size=32' for view in ('weak', 'strong')),
]


def command(root: Path, images: Path, tool: str, *arguments: str | Path, options: list[str]) -> str:
    arguments = [*arguments, '--cfg-options', *QUICK, *options]
    return run(root, f'tools/{tool}.py', *arguments, environment=dict(IMAGES=str(images)))


@pytest.fixture(scope='module')
def pretrained(tmp_path_factory) -> dict[int, Path]:
    """Checkpoints of 1000 classes, as mmpretrain publishes them, by depth."""
    folder = tmp_path_factory.mktemp('pretrained')
    paths = {}
    for depth in (18, 34):
        network = build_network(f'crld_zoo::resnet{depth}_imagenet', num_classes=1000)
        paths[depth] = folder / f'resnet{depth}.pth'
        torch.save(dict(state_dict=network.state_dict(), meta={}), paths[depth])
    return paths


@pytest.mark.parametrize('name, depth', [(TEACHER, 34), (STUDENT, 18)])
def test_training_starts_from_the_pretrained_backbone(name, depth, pretrained):
    model = load(name).model
    assert model.student.head.num_classes == 4
    model.student.backbone.init_cfg.checkpoint = str(pretrained[depth])
    model.teacher, model.distiller = None, dict(type='CrossEntropy')
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        model = MODELS.build(model)
        model.init_weights()
    published = torch.load(pretrained[depth], weights_only=True)['state_dict']
    own = model.student.state_dict()
    assert {key for key in own if not torch.equal(own[key], published[key])} == {'head.fc.weight', 'head.fc.bias'}


@pytest.mark.whole
def test_folder_of_jpegs_becomes_a_distilled_student(root, image_folder, pretrained, tmp_path):
    start = 'model.student.backbone.init_cfg.checkpoint'
    command(
        root,
        image_folder,
        'train',
        f'configs/{TEACHER}.py',
        '--work-dir',
        tmp_path / 'teacher',
        options=[f'{start}={pretrained[34]}'],
    )
    teacher = tmp_path / 'teacher' / 'epoch_1.pth'
    output = command(
        root,
        image_folder,
        'train',
        f'configs/{STUDENT}.py',
        '--work-dir',
        tmp_path / 'student',
        options=[f'{start}={pretrained[18]}', f'model.teacher.checkpoint={teacher}'],
    )
    assert all(loss in output for loss in ('loss_ce', 'loss_wv', 'loss_cv', 'accuracy/top1'))
    checkpoint = tmp_path / 'student' / 'epoch_1.pth'
    student = build_network('crld_zoo::resnet18_imagenet', num_classes=4, checkpoint=str(checkpoint)).eval()
    assert student(torch.zeros(1, 3, 32, 32)).shape == (1, 4)
    output = command(
        root, image_folder, 'test', f'configs/{STUDENT}.py', checkpoint, '--work-dir', tmp_path / 'test', options=[]
    )
    assert 'accuracy/top1' in output
