"""What a finished run hands on is read where the zoo is not."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from mmengine.config import Config

from crld_zoo.engine.publish import publish_weights

from .conftest import CLASSES

MMPRETRAIN = """dict(
    type='ImageClassifier', backbone=dict(type='ResNet_CIFAR', depth=18, base_channels=16, stem_channels=16),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=3, in_channels=128))"""

READ = """
import sys, torch
try:
    import torchvision
except RuntimeError:  # a torchvision for GPUs beside a torch without: what crld_zoo.compat does
    for name in [name for name in sys.modules if name.split('.')[0] == 'torchvision']:
        del sys.modules[name]
    library = torch.library.Library('torchvision', 'DEF')
    for operator in ('nms', 'qnms'):
        library.define(operator + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')
content = torch.load({file!r}, weights_only=True)
assert list(content['meta']['dataset_meta']['classes']) == {classes!r}, content['meta']
images = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
{load}
assert 'crld_zoo' not in sys.modules
torch.save(model.eval()(images), {out!r})
"""
TIMM = """
import timm
model = timm.create_model('resnet18', num_classes=3)
timm.models.load_checkpoint(model, {file!r}, strict=True)
"""
OPENMMLAB = """
from mmengine.config import Config
from mmpretrain import get_model
model = get_model(Config.fromfile({config!r}), pretrained={file!r})
"""


@pytest.mark.parametrize(
    ('student', 'load'), [("dict(model='timm::resnet18', num_classes=3)", TIMM), (MMPRETRAIN, OPENMMLAB)]
)
def test_its_own_library_reads_it(train, tmp_path, student, load):
    run, out = train(student), str(tmp_path / 'logits.pth')
    names = dict(file=str(run / 'student.pth'), config=str(run / 'student.py'), out=out, classes=list(CLASSES))
    script = READ.format(**names, load=load.format(**names))
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    from crld_zoo.launch.student import load_student

    images = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)
    network = load_student(run / 'tiny.py', run / 'epoch_1.pth').network
    with torch.no_grad():
        assert torch.allclose(torch.load(out), network(images, mode='tensor'), atol=1e-5)


def test_the_config_names_what_it_needs(trained):
    config = Config.fromfile(trained / 'student.py')
    assert config.custom_imports.imports == ['crld_zoo']
    assert config.model.backbone.type == 'CIFARResNet' and 'distiller' not in config.model
    assert config.model.data_preprocessor.mean == [120.0, 110.0, 100.0]


def test_only_the_student_is_handed_on(tmp_path):
    state = {'backbone.weight': torch.ones(2), 'data_preprocessor.mean': torch.ones(3)}
    meta = dict(dataset_meta=dict(classes=['a']), epoch=3, iter=30, cfg='secret = 1')
    torch.save(dict(state_dict=state, optimizer={}, distiller=dict(table=torch.ones(1)), meta=meta), tmp_path / 'a.pth')
    publish_weights(tmp_path / 'a.pth', tmp_path / 'student.pth')
    content = torch.load(tmp_path / 'student.pth', weights_only=True)
    assert content['state_dict'].keys() == {'backbone.weight'}
    assert content['meta'] == dict(dataset_meta=dict(classes=['a']), epoch=3, iter=30)
