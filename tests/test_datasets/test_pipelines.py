"""The ordinary way: mmpretrain's data sets and transforms, by their plain names in the zoo's scope."""

from __future__ import annotations

import mmpretrain.datasets
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmpretrain.structures import DataSample
from PIL import Image

from crld_zoo.datasets import labels_of
from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for name in ('cat', 'dog'):
        (tmp_path / name).mkdir()
        for number in range(3):
            pixels = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f'{number}.jpg')
    return tmp_path


def two_views(dataset: dict, size: int = 24) -> dict:
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', num_views=2, transforms=[[dict(type='RandomResizedCrop', scale=size)]]),
        dict(type='PackInputs'),
    ]
    return dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(**dataset, pipeline=pipeline),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'),
    )


def test_two_crops_of_a_folder_of_photographs(folder):
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        loader = Runner.build_dataloader(two_views(dict(type='CustomDataset', data_root=str(folder))), seed=0)
    assert isinstance(loader.dataset, mmpretrain.datasets.CustomDataset)
    batches = list(loader)
    assert [len(batch['data_samples']) for batch in batches] == [4, 2]
    for batch in batches:
        views, samples = batch['inputs'], batch['data_samples']
        assert len(views) == 2 and all(len(view) == len(samples) for view in views)
        for first, second in zip(*views, strict=True):
            assert first.shape == second.shape == (3, 24, 24) and first.dtype == torch.uint8
            assert not torch.equal(first, second), 'each view has its own crop'
        assert all(isinstance(sample, DataSample) for sample in samples)
    labels = [int(sample.gt_label) for batch in batches for sample in batch['data_samples']]
    assert sorted(labels) == [0] * 3 + [1] * 3


def test_imagenet_by_its_plain_name(folder):
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        loader = Runner.build_dataloader(
            two_views(
                dict(type='ImageNet', data_root=str(folder), data_prefix='', metainfo=dict(classes=['cat', 'dog']))
            ),
            seed=0,
        )
    assert isinstance(loader.dataset, mmpretrain.datasets.ImageNet) and len(loader.dataset) == 6


def listed(folder, *labels: int, **options):
    """Three listed images, read lazily."""
    lines = [f'cat/{number}.jpg {label}\n' for number, label in enumerate(labels)]
    (folder / 'list.txt').write_text(''.join(lines))
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        return DATASETS.build(
            dict(type='CustomDataset', data_root=str(folder), ann_file='list.txt', pipeline=[], **options)
        )


@pytest.mark.parametrize('options', [{}, dict(metainfo=dict(classes=['cat', 'dog']))])
def test_a_list_of_files_may_hold_images_without_label(folder, options):
    dataset = listed(folder, 0, -1, 1, **options)
    assert labels_of(dataset).tolist() == [0, -1, 1]
    assert [dataset.get_cat_ids(index) for index in range(3)] == [[0], [], [1]]


@pytest.mark.parametrize('wrong', [-2, -100, 2])
def test_a_list_of_files_with_labels_outside_of_the_classes_is_refused(folder, wrong):
    with pytest.raises(InputError, match=f'label {wrong} lies outside the 2 classes'):
        listed(folder, 0, 1, wrong, metainfo=dict(classes=['cat', 'dog']))


def test_rare_classes_of_a_folder_are_repeated(folder):
    for number in (1, 2):
        (folder / 'dog' / f'{number}.jpg').unlink()
    inner = dict(type='CustomDataset', data_root=str(folder), pipeline=[])
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        balanced = DATASETS.build(dict(type='ClassBalancedDataset', dataset=inner, oversample_thr=0.5))
    assert labels_of(balanced).tolist() == [0, 0, 0, 1, 1] and balanced.metainfo['classes'] == ('cat', 'dog')
