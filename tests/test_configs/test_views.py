"""What the networks get to see under a recipe: the right views, in the right colors."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from PIL import Image

from crld_zoo.registry import DISTILLERS, MODELS

from .recipes import LEAVES, load

STRONG = [dict(type='RandAugment'), dict(type='Cutout')]
RED = torch.tensor([254.0, 0.0, 0.0])  # pure red after JPEG


@pytest.fixture(autouse=True)
def _scope():
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        yield


@pytest.mark.parametrize('name', [name for name in LEAVES if not name.startswith('quickstart/')])
def test_a_distiller_of_two_views_gets_a_strong_one(name):
    cfg = load(name)
    needs_strong = 'strong' in DISTILLERS.build(cfg.model.distiller).views
    views = cfg.model.data_preprocessor.get('views') or {}
    pipeline = cfg.train_dataloader.dataset.get('pipeline')
    if needs_strong:
        assert views['strong'][-2:] == STRONG
    if pipeline:  # the loader's workers cut a crop for each view, and no crop in vain
        assert [step.type for step in pipeline].count('MultiView') == needs_strong
        assert list(views) == (['strong'] if needs_strong else [])
    elif 'weak' in views:
        assert views['strong'][:-2] == views['weak']


@pytest.fixture(scope='module')
def red(tmp_path_factory) -> Path:
    """A data set in ImageNet's layout, whose first two JPEGs are red."""
    root = tmp_path_factory.mktemp('red')
    for split in ('train', 'val'):
        (root / split / 'red').mkdir(parents=True)
        for index in range(2):
            Image.new('RGB', (80, 64), (255, 0, 0)).save(root / split / 'red' / f'{index}.JPEG')
        (root / split / 'white').mkdir()
        Image.new('RGB', (80, 64), (255, 255, 255)).save(root / split / 'white' / '0.JPEG')
    return root


def first_batch(cfg: Config, root: Path, classes: list[str], split: str = 'train') -> dict:
    """The first two images of a folder as the recipe's loader gives them."""
    loader = cfg[f'{split}_dataloader']
    loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
    loader.dataset.update(data_root=str(root), metainfo=dict(classes=classes), indices=2)
    return next(iter(Runner.build_dataloader(loader, seed=0)))


def prepared(name: str, root: Path, split: str = 'train'):
    """What the networks get of it."""
    cfg = load(name)
    return MODELS.build(cfg.model.data_preprocessor)(first_batch(cfg, root, ['red', 'white'], split), split == 'train')[
        'inputs'
    ]


def pixels(images: torch.Tensor) -> torch.Tensor:
    """ImageNet's normalization undone: R, G, B in 0-255."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375)))
    return images * std + mean


@pytest.mark.parametrize('name', ['kd/kd_r34_r18_imagenet', 'tf_nkd/tf_nkd_swin-t_imagenet'])
def test_red_is_red_in_validation(name, red):
    images = pixels(prepared(name, red, 'val'))
    assert images.shape == (2, 3, 224, 224)
    assert (images - RED.view(3, 1, 1)).abs().max() < 2


def test_red_is_red_in_training(red):
    views = prepared('kd/kd_r34_r18_imagenet', red)
    assert list(views) == ['weak']
    assert (pixels(views['weak']) - RED.view(3, 1, 1)).abs().max() < 2


def test_weak_view_is_plain_and_strong_view_is_not(red):
    views = {name: pixels(view) for name, view in prepared('crld/dkd+crld_r34_r18_imagenet', red).items()}
    assert list(views) == ['weak', 'strong']
    assert (views['weak'] - RED.view(3, 1, 1)).abs().max() < 2
    fill = torch.tensor([125.0, 123.0, 114.0]).view(3, 1, 1)
    for image in views['strong']:
        assert ((image - fill).abs().amax(0) < 1).any(), 'no Cutout'


def test_each_view_has_a_crop_of_its_own(image_folder):
    batch = first_batch(load('crld/dkd+crld_r34_r18_imagenet'), image_folder, ['cat', 'dog', 'owl', 'yak'])
    assert all(not torch.equal(one, other) for one, other in zip(*batch['inputs'], strict=True))


def test_swin_recipe_mixes_images_and_labels(red):
    cfg = load('tf_nkd/tf_nkd_swin-t_imagenet')
    (red / 'train' / 'blue').mkdir()
    Image.new('RGB', (80, 64), (0, 0, 255)).save(red / 'train' / 'blue' / '0.JPEG')
    batch = first_batch(cfg, red, ['blue', 'red', 'white'])
    preprocessor = MODELS.build(cfg.model.data_preprocessor)
    np.random.seed(0)
    scores = torch.cat([preprocessor(copy.deepcopy(batch), True)['data_samples'] for _ in range(10)])
    assert scores.shape == (20, 1000)
    torch.testing.assert_close(scores.sum(1), torch.ones(20))
    assert set((scores > 0).sum(1).tolist()) == {1, 2}  # an image may be mixed with itself
