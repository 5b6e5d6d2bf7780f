"""Every batch carries the keys of its samples, which depend on nothing but the data's seed, pass, number and copy."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Dataset

from crld_zoo.engine.randomness import seeded_loader
from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS
from crld_zoo.views import Views

from . import tiny_run

COUNT = 22
IN_MEMORY = dict(type='SyntheticImages', num_images=COUNT, num_classes=2, size=8)
VIEWS = dict(strong=[dict(type='RandomFlip'), dict(type='RandAugment')])


@DATASETS.register_module(force=True)
class NoisyPictures(Dataset):
    """Each transform draws from all generators, and says what it drew."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> dict:
        return dict(index=index, noise=(random.random(), np.random.rand(), torch.rand(()).item()))


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        yield


@pytest.fixture
def loader(monkeypatch):
    """Builds the batches of one process of several, for one pass or more."""

    def build(dataset, *, rank: int = 0, processes: int = 1, sampler: str = 'DefaultSampler', seed: int = 3, **options):
        for place in ('mmengine.dataset.sampler', 'mmpretrain.datasets.samplers.repeat_aug'):
            monkeypatch.setattr(f'{place}.get_dist_info', lambda: (rank, processes))
        place = dict(seed=seed, epoch=options.pop('epoch', 0), first=options.pop('first', 0))
        place['endless'] = options.pop('endless', False)
        options = {'batch_size': 4, 'num_workers': 0, 'collate_fn': dict(type='default_collate'), **options}
        batches = Runner.build_dataloader(
            seeded_loader(dict(dataset=dataset, sampler=dict(type=sampler, shuffle=True), **options)), seed=0
        )
        batches.batch_sampler.place(**place)
        return batches

    return build


def keys_of(batches) -> list[tuple]:
    return [
        (batch['keys'].seed, batch['keys'].epoch, *key)
        for batch in batches
        for key in zip(batch['keys'].samples.tolist(), batch['keys'].copies.tolist(), strict=True)
    ]


@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize(
    ('dataset', 'collate'),
    [
        (IN_MEMORY, 'as_batch'),
        (dict(type='NoisyPictures'), 'default_collate'),
        (dict(type='NoisyPictures'), 'pseudo_collate'),
        (dict(type='NoisyPictures'), None),
    ],
)
def test_keys_travel_through_every_collate_function(loader, dataset, collate, workers):
    options = {} if collate is None else dict(collate_fn=dict(type=collate))
    config = dict(dataset=dataset, sampler=dict(type='DefaultSampler'), batch_size=4, num_workers=workers, **options)
    batches = Runner.build_dataloader(seeded_loader(config), seed=0)
    batches.batch_sampler.place(seed=5, epoch=2)
    keys = keys_of(batches)
    assert sorted(keys) == [(5, 2, number, 0) for number in range(COUNT)]
    if dataset is not IN_MEMORY:
        indices = [int(index) for batch in batches for index in batch['index']]
        assert indices == [number for *_, number, _ in keys]


@pytest.mark.parametrize('options', [dict(batch_size=1), dict(batch_size=22), dict(num_workers=2), dict(processes=2)])
def test_what_a_pipeline_draws_follows_the_sample(loader, options):
    def noise(processes: int = 1, **options) -> dict[int, tuple]:
        return {
            index: draws
            for rank in range(processes)
            for batch in loader(dict(type='NoisyPictures'), rank=rank, processes=processes, **options)
            for index, *draws in zip(batch['index'].tolist(), *(part.tolist() for part in batch['noise']), strict=True)
        }

    expected = noise()
    assert noise(**options) == expected
    assert len({draw for draws in expected.values() for draw in draws}) == 3 * COUNT
    for other in (noise(epoch=1), noise(seed=4)):
        assert not any(other[index] == draws for index, draws in expected.items())


def views_by_sample(batches) -> dict[int, bytes]:
    views = Views(VIEWS)
    return {
        number: view.numpy().tobytes()
        for batch in batches
        for number, view in zip(
            batch['keys'].samples.tolist(), views(batch['inputs'], batch['keys'])['strong'], strict=True
        )
    }


def test_views_are_the_same_on_one_process_and_two_and_after_a_resume(loader):
    as_batch = dict(collate_fn=dict(type='as_batch'))
    whole = views_by_sample(loader(IN_MEMORY, **as_batch))
    halves = [views_by_sample(loader(IN_MEMORY, rank=rank, processes=2, batch_size=3, **as_batch)) for rank in (0, 1)]
    assert {**halves[0], **halves[1]} == whole and len(whole) == COUNT
    resumed = views_by_sample(loader(IN_MEMORY, first=3, **as_batch))
    assert len(resumed) == COUNT - 12
    assert resumed.items() <= whole.items()


def test_repeated_augmentation_gives_each_process_its_own_copies(loader):
    keys = [
        key
        for rank in range(3)
        for key in keys_of(loader(dict(type='NoisyPictures'), rank=rank, processes=3, sampler='RepeatAugSampler'))
    ]
    counts = Counter(number for *_, number, _ in keys)
    assert max(counts.values()) == 3 and len({*keys}) == len(keys), 'two processes see the same copy'
    single = keys_of(loader(dict(type='NoisyPictures'), sampler='RepeatAugSampler'))
    assert {*single} <= {*keys}


@pytest.mark.parametrize('processes', [1, 2])
def test_labeled_images_that_come_again_are_copies(loader, processes):
    dataset = dict(IN_MEMORY, labels_per_class=2, others='unlabeled')
    shares = dict(batch_sampler=dict(type='LabeledShareBatchSampler', share=0.5), collate_fn=dict(type='as_batch'))
    keys = [
        key for rank in range(processes) for key in keys_of(loader(dataset, rank=rank, processes=processes, **shares))
    ]
    assert len(keys) == len({*keys}) > COUNT
    copies = Counter(number for *_, number, _ in keys)
    for number, count in copies.items():
        assert sorted(copy for *_, other, copy in keys if other == number) == [*range(count)]


@pytest.mark.parametrize('sampler', ['DefaultSampler', 'InfiniteSampler'])
@pytest.mark.parametrize('workers', [0, 2])
def test_the_pass_is_the_iteration_over_the_length(loader, sampler, workers):
    batches = loader(IN_MEMORY, sampler=sampler, endless=True, num_workers=workers, collate_fn=dict(type='as_batch'))
    length, passes = len(batches), []
    for iteration, batch in zip(range(2 * length + 3), batches, strict=False):
        assert batch['keys'].epoch == iteration // length
        passes.append(keys_of([batch]))
    keys = [key for batch in passes for key in batch]
    assert len({*keys}) == len(keys)
    if sampler == 'DefaultSampler':
        by_epoch = [
            key
            for epoch in range(2)
            for key in keys_of(loader(IN_MEMORY, epoch=epoch, collate_fn=dict(type='as_batch')))
        ]
        assert keys[: len(by_epoch)] == by_epoch, 'both ways of counting see the same'


def test_subsets_and_repeats_in_a_loader(loader):
    repeated = dict(type='RepeatDataset', times=2, dataset=dict(IN_MEMORY, labels_per_class=3))
    keys = keys_of(loader(repeated))
    numbers = DATASETS.build(dict(IN_MEMORY, labels_per_class=3)).numbers.tolist()
    assert sorted(keys) == [(3, 0, number, copy) for number in numbers for copy in range(2)]


class Keys(Hook):
    """What the training steps were given, by iteration."""

    def __init__(self) -> None:
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        keys = data_batch['keys']
        self.seen.append((keys.seed, keys.epoch, keys.samples.tolist()))


def train(folder, loop: dict, seed: int = 7, resume: bool = False, stop_after: int | None = None) -> list:
    changes = {
        'model': dict(
            type='Distillation',
            student=dict(model='crld_zoo::resnet8', num_classes=2),
            distiller=dict(type='CrossEntropy'),
            data_preprocessor=dict(
                type='ViewPreprocessor', mean=[9.0] * 3, std=[9.0] * 3, views=dict(weak=VIEWS['strong'])
            ),
        ),
        'train_dataloader.dataset': Config(IN_MEMORY)._cfg_dict,
        'train_dataloader.collate_fn': dict(type='as_batch'),
        'train_cfg': dict(_delete_=True, **loop),
        'randomness.seed': seed,
    }
    base = tiny_run.config
    hook = Keys()
    options = dict(resume=True) if resume else {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_run, 'config', lambda *args, **more: _without_validation(base(*args, **more)))
        if resume:
            tiny_run.resume(folder, hooks=(hook,), **changes)
        else:
            tiny_run.train(folder, stop_after, hooks=(hook,), **changes, **options)
    return hook.seen


def _without_validation(cfg: Config) -> Config:
    for name in ('val_dataloader', 'val_evaluator', 'val_cfg'):
        cfg[name] = None
    cfg.param_scheduler = None
    cfg.custom_hooks = []
    return cfg


EPOCHS = dict(type='EpochBasedTrainLoop', max_epochs=2)
ITERATIONS = dict(type='IterBasedTrainLoop', max_iters=12)


@pytest.mark.parametrize('loop', [EPOCHS, ITERATIONS])
def test_the_seed_of_the_data_decides_their_order_and_keys_and_is_kept(tmp_path, loop):
    own = train(tmp_path / 'own', dict(loop, data_seed=11), stop_after=6)
    other_run = train(tmp_path / 'other', dict(loop, data_seed=11), seed=8)
    of_run = train(tmp_path / 'run', loop, seed=11)
    assert own == other_run[: len(own)] and other_run == of_run
    assert {(seed, epoch) for seed, epoch, _ in of_run} == {(11, 0), (11, 1)}
    assert train(tmp_path / 'third', loop, seed=12) != of_run


def test_a_resume_keeps_the_seed_of_the_data(tmp_path):
    whole = train(tmp_path / 'whole', dict(EPOCHS, data_seed=11))
    train(tmp_path / 'parts', dict(EPOCHS, data_seed=11), stop_after=7)
    assert train(tmp_path / 'parts', EPOCHS, resume=True) == whole[6:]
    with pytest.raises(InputError, match='has the data seed 11, not 12: leave train_cfg.data_seed out'):
        train(tmp_path / 'parts', dict(EPOCHS, data_seed=12), resume=True)


@pytest.mark.parametrize('seed', [-1, 1.5, '3', True, 2**32])
def test_impossible_seed_of_the_data(tmp_path, seed):
    with pytest.raises(InputError, match='data_seed must be a whole number from 0'):
        train(tmp_path, dict(EPOCHS, data_seed=seed))


def test_a_model_that_knows_no_keys_is_given_none(tmp_path):
    class Batches(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            assert 'keys' not in data_batch

    tiny_run.train(tmp_path, hooks=(Batches(),), **{'train_cfg.max_epochs': 1})
