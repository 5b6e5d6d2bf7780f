"""What of a recipe is measured."""

from __future__ import annotations

import dataclasses
import math
import time
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from crld_zoo.benchmark import Options, describe_machine, machine
from crld_zoo.benchmark.machine import joules_used
from crld_zoo.benchmark.setup import (
    build_or_explain,
    measured_config,
    view_size,
    with_options,
    write_photographs,
)
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS, MODELS


def test_only_the_training_stays(recipe, tmp_path):
    cfg = measured_config(Options(recipe), tmp_path / 'run')
    assert cfg.val_dataloader is None
    assert cfg.val_cfg is None
    assert cfg.default_hooks.checkpoint is None
    assert 'teacher_accuracy' not in cfg.default_hooks
    assert cfg.default_hooks.divergence.type == 'DivergenceHook', 'the safeguards of a real run are part of its time'
    assert cfg.train_cfg.type == 'EpochBasedTrainLoop'
    assert cfg.train_cfg.max_epochs > 1000
    assert cfg.optim_wrapper.get('type', 'OptimWrapper') == 'OptimWrapper'
    assert cfg.train_dataloader.batch_size == 4


def test_every_option_changes_the_run(recipe, tmp_path):
    plain = Options(recipe)
    changes = dict(
        batch_size=3, amp=True, synthetic=True, random_weights=True, overrides={'model.distiller.tau_w': 0.5}
    )
    before = measured_config(plain, tmp_path).to_dict()
    for name, value in changes.items():
        after = measured_config(dataclasses.replace(plain, **{name: value}), tmp_path).to_dict()
        assert after != before, name
    sized = measured_config(dataclasses.replace(plain, synthetic=True, image_size=16), tmp_path)
    assert sized.train_dataloader.dataset['size'] == 16
    assert {field.name for field in dataclasses.fields(Options)} == {
        *changes,
        'config',
        'image_size',
        'processor_time',
        'tf32',
    }


def test_a_missing_checkpoint_is_explained(recipe, tmp_path):
    def build(options):
        return build_or_explain(lambda: MODELS.build(measured_config(options, tmp_path).model), options)

    with pytest.raises(MissingFileError, match=r'nowhere\.pth.*take --random-weights'):
        build(Options(recipe))
    assert build(Options(recipe, random_weights=True)).teacher is not None


@pytest.mark.parametrize(
    ('teacher', 'expected'),
    [
        ('timm::resnet18', dict(model='timm::resnet18', checkpoint='random')),
        (dict(model='x', checkpoint='y.pth', num_classes=3), dict(model='x', checkpoint='random', num_classes=3)),
        (
            dict(type='ImageClassifier', backbone=dict()),
            dict(model=dict(type='ImageClassifier', backbone=dict()), checkpoint='random'),
        ),
        (
            dict(type='TeacherEnsemble', average='logits', teachers=[dict(model='x'), dict(model='y', checkpoint='z')]),
            dict(
                type='TeacherEnsemble',
                average='logits',
                teachers=[dict(model='x', checkpoint='random'), dict(model='y', checkpoint='random')],
            ),
        ),
        (dict(type='EMATeacher', decay=0.9), dict(type='EMATeacher', decay=0.9)),
    ],
)
def test_random_weights_of_any_teacher(teacher, expected):
    assert with_options(teacher, checkpoint='random') == expected


def test_the_size_is_found_in_the_views():
    assert view_size(dict(weak=[dict(type='RandomFlip'), dict(type='RandomCrop', size=24)])) == 24
    assert view_size(dict(weak=[], strong=[dict(type='Resize', size=(30, 40))])) == 40
    assert view_size({}) is None


def test_an_unknown_size_is_asked_for(recipe, tmp_path):
    options = Options(
        recipe,
        synthetic=True,
        overrides={'model.data_preprocessor.views.weak': [], 'model.data_preprocessor.views.strong': []},
    )
    with pytest.raises(InputError, match='give --image-size'):
        measured_config(options, tmp_path)


def test_pipelines_read_synthetic_photographs(recipe, tmp_path):
    write_photographs(tmp_path / 'few', 3)
    files = sorted((tmp_path / 'few').rglob('*.jpg'))
    assert len(files) == 3
    with Image.open(files[0]) as image:
        assert image.size == (500, 375)
    dataset = DATASETS.build(
        dict(
            type='CustomDataset',
            data_root=str(tmp_path / 'few'),
            pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
        )
    )
    assert tuple(dataset[0]['inputs'].shape) == (3, 375, 500)


def test_a_recipe_that_trains_nothing(tmp_path):
    path = tmp_path / 'empty.py'
    path.write_text('model = None\n')
    with pytest.raises(InputError, match='trains nothing'):
        measured_config(Options(path), tmp_path)


def test_the_machine_is_described(tmp_path):
    cpuinfo = tmp_path / 'cpuinfo'
    cpuinfo.write_text(
        'processor : 0\nmodel name\t: A Processor\nflags\t\t: fpu avx2 amx_bf16 other\n\n'
        'processor : 1\nmodel name\t: A Processor\n'
    )
    found = describe_machine(cpuinfo)
    assert found['cpu'] == 'A Processor'
    assert found['features'] == ['avx2', 'amx_bf16']
    assert found['cores'] >= 1
    assert describe_machine(tmp_path / 'none')['cpu']


def test_the_energy_is_the_counter_of_the_driver(monkeypatch):
    """Of the very GPU, by its identity, in joules; not a number without a GPU, a driver or a counter."""
    assert math.isnan(joules_used(torch.device('cpu')))
    asked = []

    def energy(handle, millijoules) -> int:
        millijoules._obj.value = 2500
        return 0

    driver = SimpleNamespace(
        nvmlInit_v2=lambda: 0,
        nvmlDeviceGetHandleByUUID=lambda uuid, handle: asked.append(uuid) or 0,
        nvmlDeviceGetTotalEnergyConsumption=energy,
    )
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: SimpleNamespace(uuid='12-34'))
    monkeypatch.setattr(machine.ctypes, 'CDLL', lambda name: driver)
    assert joules_used(torch.device('cuda')) == 2.5 and asked == [b'GPU-12-34']
    driver.nvmlDeviceGetTotalEnergyConsumption = lambda handle, millijoules: 3
    assert math.isnan(joules_used(torch.device('cuda')))

    def no_driver(name: str):
        raise OSError(name)

    monkeypatch.setattr(machine.ctypes, 'CDLL', no_driver)
    assert math.isnan(joules_used(torch.device('cuda')))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_uses_energy():
    before = joules_used(torch.device('cuda', 0))
    work = torch.ones(4096, 4096, device='cuda')
    start = time.monotonic()
    while time.monotonic() - start < 1:
        work = work @ work
        torch.cuda.synchronize()
    assert joules_used(torch.device('cuda', 0)) > before + 10
