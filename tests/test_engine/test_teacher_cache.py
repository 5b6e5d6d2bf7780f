"""Runs that share a teacher's cache train as those without one, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from crld_zoo.datasets import SyntheticImages, fingerprint
from crld_zoo.errors import InputError
from crld_zoo.networks import build_network

from . import tiny_run
from .test_distiller_state import with_distiller

DISTILLERS = dict(
    KD=dict(type='KD'),
    CRLD=dict(type='CRLD', distiller=dict(type='KD'), tau_w=0.0, tau_s=0.0),
    AT=dict(type='AT'),
)


def train(folder, distiller='KD', stop_after=None, resume=False, cache=None, change=None, **options) -> tuple:
    """A training's last checkpoint, and the cache; ``change`` may alter the config."""
    base = tiny_run.config

    def config(place, **changes):
        cfg = with_distiller(base(place, **changes), DISTILLERS[distiller])
        cfg.train_dataloader.batch_size = 5
        cfg.custom_hooks.append(dict(type='TeacherCacheHook'))
        cfg.model.teacher.cache = cache
        if change is not None:
            change(cfg)
        return cfg

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_run, 'config', config)
        run = tiny_run.resume(folder) if resume else tiny_run.train(folder, stop_after, **options)
    checkpoint = torch.load(folder / 'epoch_2.pth') if stop_after is None else {}
    return checkpoint, run.model.teacher_cache


def rows_of(folder) -> dict[str, bytes]:
    return {f'{path.parent.name}/{path.name}': path.read_bytes() for path in sorted(folder.rglob('*.rows'))}


@pytest.mark.parametrize('distiller', ['KD', 'CRLD'])
def test_the_weights_are_the_same_with_it_and_without(tmp_path, distiller):
    cache = str(tmp_path / 'cache')
    without, _ = train(tmp_path / 'without', distiller)
    writing, _ = train(tmp_path / 'writing', distiller, cache=cache)
    kept = rows_of(tmp_path / 'cache')
    reading, used = train(tmp_path / 'reading', distiller, cache=cache)
    assert tiny_run.differences(without, writing) == []
    assert tiny_run.differences(without, reading) == []
    assert rows_of(tmp_path / 'cache') == kept and used.computed == 0
    views = ['strong', 'weak'] if distiller == 'CRLD' else ['weak']
    assert list(kept) == [f'{view}/{epoch:04d}.rows' for view in views for epoch in (0, 1)]


def test_another_method_and_another_first_weight_read_it(tmp_path, caplog):
    cache, weights = str(tmp_path / 'cache'), tmp_path / 'teacher.pth'
    torch.save(build_network('crld_zoo::resnet8', num_classes=3, checkpoint='random').state_dict(), weights)

    def same(cfg):
        cfg.train_cfg.data_seed = 3
        cfg.model.teacher.checkpoint = str(weights)

    def other(cfg):
        same(cfg)
        cfg.randomness.seed = 99

    train(tmp_path / 'first', 'CRLD', cache=cache, change=same)
    kept = rows_of(tmp_path / 'cache')

    _, used = train(tmp_path / 'second', 'KD', cache=cache, change=other)
    assert rows_of(tmp_path / 'cache') == kept
    assert (used.read, used.computed) == (40, 0)


def test_a_killed_run_leaves_what_it_kept_and_a_resumed_one_adds_the_rest(tmp_path):
    cache = str(tmp_path / 'cache')
    whole, _ = train(tmp_path / 'whole')
    train(tmp_path / 'parts', stop_after=5, cache=cache, **{'default_hooks.checkpoint.snapshot_interval': 1})
    assert list(rows_of(tmp_path / 'cache')) == ['weak/0000.rows', 'weak/0001.rows']
    resumed, _ = train(tmp_path / 'parts', resume=True, cache=cache)
    assert tiny_run.differences(whole, resumed) == []


@pytest.mark.parametrize(
    ('change', 'difference'),
    [
        (lambda cfg: cfg.train_cfg.update(data_seed=8), 'seed of the data: 7 there, 8 here'),
        (lambda cfg: cfg.train_cfg.update(views_period=1), 'period of the views: None there, 1 here'),
        (lambda cfg: cfg.model.data_preprocessor.update(mean=[1.0] * 3), 'normalization: mean'),
        (lambda cfg: cfg.model.data_preprocessor.views.update(weak=[]), 'view: .* there, .* here'),
        (lambda cfg: cfg.train_dataloader.dataset.update(seed=5), 'images: .* there'),
        (lambda cfg: cfg.model.teacher.update(fold=False), 'how the teacher runs: {} there'),
        (lambda cfg: cfg.optim_wrapper.update(type='Bf16OptimWrapper'), 'autocast off.* there, .*bfloat16'),
        (lambda cfg: cfg.model.teacher.update(model='crld_zoo::resnet20'), 'teacher: [0-9a-f]{64} there'),
    ],
    ids=['seed', 'period', 'normalization', 'view', 'images', 'fold', 'precision', 'teacher'],
)
def test_what_does_not_match_is_refused_with_the_difference(tmp_path, change, difference):
    cache = str(tmp_path / 'cache')
    train(tmp_path / 'first', cache=cache)
    with pytest.raises(InputError, match=difference):
        train(tmp_path / 'second', cache=cache, change=change)


def test_views_of_a_pipeline_are_told_by_their_place(tmp_path):
    """A pipeline names no view, so exchanged names are other images."""
    for number in range(4):
        folder = tmp_path / 'images' / 'ab'[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f'{number}.png')
    crop = [dict(type='RandomResizedCrop', scale=16)]
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', num_views=[1, 1], transforms=[crop, [*crop, dict(type='ColorJitter', brightness=0.5)]]),
        dict(type='PackInputs'),
    ]

    def change(names):
        def of_a_pipeline(cfg):
            images = str(tmp_path / 'images')
            cfg.train_dataloader.dataset = dict(type='CustomDataset', data_root=images, pipeline=pipeline)
            cfg.train_dataloader.update(batch_size=2, collate_fn=dict(type='pseudo_collate'))
            cfg.model.student.num_classes = cfg.model.teacher.num_classes = 2
            cfg.model.data_preprocessor.update(views=None, view_names=names)

        return of_a_pipeline

    cache = str(tmp_path / 'cache')
    train(tmp_path / 'first', cache=cache, change=change(['weak', 'strong']))
    with pytest.raises(InputError, match='loading: .* there, .* here'):
        train(tmp_path / 'second', cache=cache, change=change(['strong', 'weak']))


def test_a_method_that_needs_features_is_refused(tmp_path):
    with pytest.raises(InputError, match='AT needs more of the teacher than its logits'):
        train(tmp_path, 'AT', cache=str(tmp_path / 'cache'))


def test_views_come_again_after_their_period(tmp_path):
    train(tmp_path / 'run', cache=str(tmp_path / 'cache'), change=lambda cfg: cfg.train_cfg.update(views_period=1))
    assert list(rows_of(tmp_path / 'cache')) == ['weak/0000.rows']


@pytest.mark.parametrize('period', [0, -1, 1.5, True])
def test_impossible_period(tmp_path, period):
    with pytest.raises(InputError, match='views_period must be a number of passes'):
        train(tmp_path, change=lambda cfg: cfg.train_cfg.update(views_period=period))


def test_the_fingerprint_sees_images_and_numbers_and_no_labels():
    base = SyntheticImages(num_images=6, num_classes=2, size=8)
    same = SyntheticImages(num_images=6, num_classes=2, size=8)
    same.labels = 1 - same.labels
    part, changed = base.get_subset([0, 1]), base.get_subset(range(6))
    changed.images = changed.images.clone()
    changed.images[5, 2, 7, 7] ^= 1
    whole = torch.utils.data.ConcatDataset([base, part])
    assert fingerprint(base) == fingerprint(same)
    assert len({fingerprint(data) for data in (base, part, base.get_subset([1, 0]), changed, whole)}) == 5
