"""Every recipe trains and validates, on images that are few and small."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.structures import BaseDataElement
from torch import nn

from crld_zoo.distillers import Progress, TrainingData
from crld_zoo.engine.distiller import labels_by_number
from crld_zoo.models import Teacher
from crld_zoo.networks import sources
from crld_zoo.networks.sources import build_network, resolve
from crld_zoo.registry import DISTILLERS, METRICS, MODELS
from crld_zoo.views import SampleKeys

from ..test_datasets.voc_tree import make_voc
from .recipes import LEAVES, load

LIGHTER = {  # of the same family and input; the real ones have about 200 to 300 million weights
    'timm::vit_large_patch16_384': 'timm::vit_tiny_patch16_384',
    'swin-large_in21k-pre-3rdparty_in1k': 'swin-tiny_16xb64_in1k',
    'timm::regnety_160.deit_in1k': 'timm::regnety_002',
    'timm::resnetv2_152x2_bit.goog_teacher_in21k_ft_in1k': 'timm::resnetv2_50x1_bit',
}
FIXED_SIZE = ('deit', 'swin', 't2t', 'pit', 'pvt')  # networks that take images of 224 pixels and no others
SYNTHETIC = dict(InMemoryCIFAR100=(100, 32), InMemoryTinyImageNet=(200, 64))
SMALLER = {224: 64, 256: 72}
BATCH = 2


def small(cfg: Config, images: Path, resize: bool) -> Config:
    """The recipe with few images, made up where the real ones are not at hand, and a teacher of random weights."""
    for name in ('train_dataloader', 'val_dataloader'):
        loader = cfg[name]
        loader.batch_size, loader.num_workers, loader.persistent_workers = BATCH, 0, False
        loader.pop('pin_memory', None)
        if loader.dataset.type in SYNTHETIC:
            classes, size = SYNTHETIC[loader.dataset.type]
            loader.dataset = ConfigDict(type='SyntheticImages', num_images=BATCH, num_classes=classes, size=size)
        elif loader.dataset.type == 'CIFAR100':  # its pipelines begin behind the file
            read = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=32)]
            pipeline = [*read, *loader.dataset.pipeline]
            loader.dataset = ConfigDict(type='CustomDataset', data_root=str(images / 'train'), pipeline=pipeline)
        elif loader.dataset.type == 'VOCSegmentation':
            loader.dataset.data_root = str(make_voc(images))
            if loader.dataset.get('crop'):
                loader.dataset.crop = SMALLER[224]
        elif loader.dataset.type == 'ImageNet':
            loader.dataset.serialize_data = False  # else all garbage is collected each time
            classes = sorted(folder.name for folder in (images / 'train').iterdir())
            loader.dataset.update(data_root=str(images), metainfo=dict(classes=classes))
    _without_weights(cfg.model)
    if cfg.model.distiller.get('head'):
        cfg.model.distiller.head = 'random'
    if cfg.auto_scale_lr.get('enable'):  # else one step of a deep network with two images ends in NaN
        cfg.optim_wrapper.optimizer.lr *= BATCH / cfg.auto_scale_lr.base_batch_size
    if cfg.model.get('teacher') and cfg.model.teacher.get('type') != 'EMATeacher':
        cfg.model.teacher.checkpoint = 'random'
        cfg.model.teacher.model = LIGHTER.get(str(cfg.model.teacher.model), cfg.model.teacher.model)
        if resize and cfg.train_dataloader.dataset.type == 'ImageNet':
            cfg.model.teacher.size = SMALLER[224]
    cfg.train_dataloader.pop('batch_sampler', None)  # two images are labeled ones: else a step may learn nothing
    for option in ('others', 'unlabeled'):
        cfg.train_dataloader.dataset.pop(option, None)
    if resize:
        _shrink(cfg.train_dataloader)
        _shrink(cfg.val_dataloader)
        _shrink(cfg.model.data_preprocessor)
    return cfg


def _without_weights(part) -> None:
    """Take out the weights that a network's config asks for, which would be downloaded."""
    if isinstance(part, dict):
        for key in [
            key for key, value in part.items() if isinstance(value, dict) and value.get('type') == 'Pretrained'
        ]:
            del part[key]
        part.pop('weights_backbone', None)
        for value in part.values():
            _without_weights(value)


def _shrink(part) -> None:
    if isinstance(part, dict):
        for key, value in part.items():
            if key in ('size', 'scale', 'crop_size') and value in SMALLER:
                part[key] = SMALLER[value]
            else:
                _shrink(value)
    elif isinstance(part, list):
        for item in part:
            _shrink(item)


class Networks:
    """Networks by their config: many recipes have the same ones, and building takes longer than a step."""

    def __init__(self) -> None:
        self.built: dict[str, nn.Module] = {}

    def _get(self, config, build) -> nn.Module:
        key = json.dumps(config, sort_keys=True, default=str)
        if key not in self.built:
            self.built[key] = build()
        return self.built[key]

    def teacher(self, config: dict) -> nn.Module:
        return self._get(config, lambda: Teacher(**config))

    def student(self, config: str | dict) -> nn.Module:
        if isinstance(config, str) or 'type' in config:
            return self._get(config, lambda: build_network(config))
        return self._get(config, lambda: build_network(**config))


@pytest.fixture(scope='module')
def networks() -> Networks:
    return Networks()


@pytest.fixture(autouse=True)
def _scope(monkeypatch):
    # what a network gives is found here by a step: that it is found by shapes beforehand, others test
    monkeypatch.setattr(sources, '_output', lambda *_, **__: None)
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        yield


def versions(module: nn.Module) -> dict[str, int]:
    """How often each weight and statistic was written to."""
    return {name: value._version for name, value in module.state_dict(keep_vars=True).items()}


@pytest.mark.parametrize('real, stand_in', LIGHTER.items())
def test_lighter_teachers_see_images_as_the_real_ones(real, stand_in):
    real, stand_in = (resolve(name, num_classes=200) for name in (real, stand_in))
    assert (real.size, real.bgr) == (stand_in.size, stand_in.bgr)


@pytest.mark.parametrize('name', LEAVES)
def test_steps(name, image_folder, networks):
    cfg = small(load(name), image_folder, resize=not any(network in name for network in FIXED_SIZE))
    train_loader, val_loader = (
        Runner.build_dataloader(loader, seed=0) for loader in (cfg.train_dataloader, cfg.val_dataloader)
    )
    if cfg.model.get('teacher') and cfg.model.teacher.get('type') != 'EMATeacher':
        if DISTILLERS.build(cfg.model.distiller.to_dict()).teacher_taps:
            cfg.model.teacher.fold = False  # many recipes share it, and what a setup reads of it is gone once folded
        cfg.model.teacher = networks.teacher(cfg.model.teacher.to_dict())
    student = cfg.model.student
    if not isinstance(student, str) and 'checkpoint' in student:
        student.checkpoint = 'random'
    cfg.model.student = networks.student(student if isinstance(student, str) else student.to_dict())
    model = MODELS.build(cfg.model)
    assert (model.teacher is not None) == model.distiller.needs_teacher
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model.train()
    model.distiller.begin(Progress(epoch=1, iteration=0, epochs=2, iterations=2))
    if getattr(model.teacher, 'is_average', False):
        model.teacher.begin()  # else the first loss writes to it
    before = versions(model.teacher) if model.teacher is not None else None

    batch = model.data_preprocessor(next(iter(train_loader)), True)
    if model.distiller.overrides('connect'):  # it knows the samples by their numbers
        labels, classes = labels_by_number(train_loader.dataset), train_loader.dataset.metainfo['classes']
        model.distiller.connect(TrainingData(len(labels), len(classes), labels))
        batch['keys'] = SampleKeys(0, 0, torch.arange(BATCH), torch.zeros(BATCH, dtype=torch.int64))
    losses = model(**batch, mode='loss')
    assert all(torch.isfinite(value) for value in losses.values()), losses
    found, _ = model.parse_losses(losses)
    if isinstance(found, dict):  # a gradient for each group
        optim_wrapper.check_groups(found, name)
        sum(found.values()).backward(retain_graph=True)
        optim_wrapper.backward(found)
    else:
        found.backward()
    trained = model.student if model.distiller.trains_student else model.distiller
    moving = {key: value for key, value in trained.named_parameters() if value.requires_grad}  # SimKD freezes its head
    for key, parameter in moving.items():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    assert any(parameter.grad.any() for parameter in moving.values())
    weight = next(iter(moving.values()))
    old = weight.detach().clone()
    optim_wrapper.step()
    optim_wrapper.zero_grad()
    assert not torch.equal(weight, old)
    if before is not None:
        assert versions(model.teacher) == before
        assert not model.teacher.training
        assert all(parameter.grad is None for parameter in model.teacher.parameters())

    model.eval()
    with torch.no_grad():
        predictions = model.val_step(next(iter(val_loader)))
    for config in cfg.val_evaluator:
        metric = METRICS.build(config)
        metric.dataset_meta = val_loader.dataset.metainfo
        metric.process(None, [p.to_dict() if isinstance(p, BaseDataElement) else p for p in predictions])
        assert all(0 <= value <= 100 for value in metric.evaluate(BATCH).values())
