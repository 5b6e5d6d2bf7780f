"""Batches with a fixed share of labels, and repeated augmentation, in the zoo's own loaders."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch.utils.data import SequentialSampler

from crld_zoo.datasets import InMemoryDataset, SyntheticImages
from crld_zoo.datasets.samplers import LabeledShareBatchSampler
from crld_zoo.engine.randomness import seeded_loader
from crld_zoo.errors import InputError

COUNT, LABELED = 50, 10


def dataset() -> dict:
    return dict(type='SyntheticImages', num_images=COUNT, num_classes=5, size=4, labels_per_class=2, others='unlabeled')


def batches(world: int = 1, epoch: int = 0, seed: int = 3, batch_size: int = 8, share: float = 0.25):
    """The batches of every process."""
    dealt = []
    for rank in range(world):
        sampler = DefaultSampler(SyntheticImages(COUNT, 5, 4, labels_per_class=2, others='unlabeled'), seed=seed)
        sampler.rank, sampler.world_size = rank, world
        sampler.set_epoch(epoch)
        own = LabeledShareBatchSampler(sampler, batch_size // world, share)
        dealt.append(list(own))
        assert len(own) == len(dealt[-1])
    return dealt


LABELS = SyntheticImages(COUNT, 5, 4, labels_per_class=2, others='unlabeled').labels.numpy()


@pytest.mark.parametrize('batch_size, share', [(8, 0.25), (16, 0.5), (10, 0.1), (6, 0.9)])
def test_every_batch_has_its_share_and_every_image_its_turn(batch_size, share):
    (epoch,) = batches(batch_size=batch_size, share=share)
    labeled = round(share * batch_size)
    for batch in epoch:
        assert len(batch) == batch_size and [LABELS[index] != -1 for index in batch] == [True] * labeled + [False] * (
            batch_size - labeled
        )
    seen = Counter(index for batch in epoch for index in batch)
    assert set(seen) == set(range(COUNT))
    for pool in (np.flatnonzero(LABELS != -1), np.flatnonzero(LABELS == -1)):
        turns = [seen[index] for index in pool]
        assert max(turns) - min(turns) <= 1, 'whole passes'


def test_the_order_is_a_function_of_seed_and_epoch():
    assert batches() == batches()
    assert batches(epoch=1) != batches() != batches(seed=4)


def test_processes_share_what_one_process_would_see():
    (one,) = batches()
    two = batches(world=2)
    assert [sorted(first + second) for first, second in zip(*two, strict=True)] == [sorted(batch) for batch in one]


def test_in_the_loaders_of_the_zoo_and_of_mmengine():
    config = dict(
        batch_size=8,
        num_workers=0,
        dataset=dataset(),
        sampler=dict(type='DefaultSampler', shuffle=True),
        batch_sampler=dict(type='LabeledShareBatchSampler', share=0.25),
        collate_fn=dict(type='as_batch'),
    )
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        plain = Runner.build_dataloader(dict(config), seed=3)
        seeded = Runner.build_dataloader(seeded_loader(config), seed=3)
    labels = [batch['data_samples'].tolist() for batch in plain]
    assert all(sum(label != -1 for label in batch) == 2 and len(batch) == 8 for batch in labels)
    seeded.batch_sampler.place(seed=3, epoch=0, first=0)
    assert [batch['data_samples'].tolist() for batch in seeded] == labels
    seeded.batch_sampler.place(seed=3, epoch=0, first=2)
    assert [batch['data_samples'].tolist() for batch in seeded] == labels[2:], 'a resume goes on in the middle'
    seeded.batch_sampler.place(seed=3, epoch=1, first=0)
    assert [batch['data_samples'].tolist() for batch in seeded] != labels


def test_wrapped_datasets_tell_their_labels():
    repeated = dict(type='RepeatDataset', dataset=dataset(), times=2)
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        loader = Runner.build_dataloader(
            seeded_loader(
                dict(
                    batch_size=8,
                    dataset=repeated,
                    sampler=dict(type='DefaultSampler', shuffle=True),
                    batch_sampler=dict(type='LabeledShareBatchSampler', share=0.25),
                    collate_fn=dict(type='default_collate'),
                )
            ),
            seed=3,
        )
    assert all(int((batch['data_samples'] != -1).sum()) == 2 for batch in loader) and len(loader) == 14


@pytest.mark.parametrize(
    'labels, share, message',
    [
        ([0, 1, -1], 0.0, 'share=0.0 of a batch of 4 is 0 labeled'),
        ([0, 1, -1], 0.1, 'at least one labeled'),
        ([0, 1, -1], 1.0, 'is 4 labeled'),
        ([0, 1, 1], 0.5, 'no unlabeled image'),
        ([-1, -1, -1], 0.5, 'no labeled image'),
    ],
)
def test_impossible_shares(labels, share, message):
    images = torch.zeros(3, 3, 2, 2, dtype=torch.uint8)
    sampler = DefaultSampler(InMemoryDataset(images, labels, ('a', 'b')), seed=0)
    with pytest.raises(InputError, match=message):
        LabeledShareBatchSampler(sampler, 4, share)


def test_another_sampler_is_refused():
    with pytest.raises(InputError, match='goes with a DefaultSampler, but SequentialSampler has no dataset'):
        LabeledShareBatchSampler(SequentialSampler(range(3)), 4, 0.5)


@pytest.mark.parametrize('workers', [0, 1])
def test_repeated_augmentation_works_in_the_loaders_of_the_zoo(workers):
    config = dict(
        batch_size=6,
        num_workers=workers,
        dataset=dict(type='SyntheticImages', num_images=12, num_classes=3, size=4),
        sampler=dict(type='RepeatAugSampler', num_repeats=3),
        collate_fn=dict(type='as_batch'),
    )
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        loader = Runner.build_dataloader(seeded_loader(config), seed=3)
    epochs = []
    for epoch in range(2):
        loader.batch_sampler.place(seed=3, epoch=epoch, first=0)
        images = torch.cat([batch['inputs'] for batch in loader])
        assert len(images) == 12
        copies = Counter(image.numpy().tobytes() for image in images)
        assert len(copies) == 4 and set(copies.values()) == {3}, 'a third of the images, three times each'
        epochs.append(set(copies))
    assert epochs[0] != epochs[1]
