"""Randomness as a function of where the training stands.

Nothing random may depend on what was drawn before, or a resumed run could not repeat it. So the generators of Python,
NumPy and PyTorch start anew at every epoch and iteration, from a hash of (stream, seed of the run, rank, epoch, batch),
and at every sample that is loaded, from a hash of (stream, seed of the data, pass over the data, number of the sample,
copy). That costs about 20 microseconds, needs no generator state in checkpoints (one for each rank and device it would
be), makes the data independent of the batch size, the loader's workers and the number of processes, and keeps the
training stream apart from whatever validation draws.

Each batch carries the keys of its samples (:class:`~crld_zoo.views.SampleKeys`) to whoever draws for them later.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from enum import IntEnum
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from torch.utils.data import BatchSampler, Dataset, Sampler

from crld_zoo.datasets.numbering import numbers_of
from crld_zoo.datasets.samplers import CountedBatch
from crld_zoo.registry import DATA_SAMPLERS, DATASETS
from crld_zoo.views.keys import SampleKeys


class Stream(IntEnum):
    """Which of the independent random streams."""

    EPOCH = 0
    ITERATION = 1
    LOADING = 2
    VALIDATION = 3


def seed_generators(stream: Stream, *key: int) -> None:
    """Start the generators of Python, NumPy and PyTorch (CPU, and the current CUDA device where one is in use) anew.

    Args:
        stream: What the numbers are for.
        *key: Whole numbers of at least 0 that the numbers depend on.
    """
    words = np.random.SeedSequence((stream, *key)).generate_state(8)
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:6])
    state = int.from_bytes(words[6:].tobytes(), 'little')
    # torch.manual_seed collects a traceback at each call while CUDA is not initialized, as in every loader worker.
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(state)


class SeededBatch(CountedBatch):
    """The indices of a batch, which carry to the loader's worker what its samples are loaded with.

    Attributes:
        seed: Of the data.
        epoch: The pass over the data, from 0.
    """

    def __init__(self, indices: list[int], copies: np.ndarray, seed: int, epoch: int) -> None:
        super().__init__(indices, copies)
        self.seed, self.epoch = seed, epoch


class KeyedItems(NamedTuple):
    """What a dataset gives for a batch, with the keys of its samples, on the way to the collate function."""

    keys: SampleKeys
    items: object


@DATA_SAMPLERS.register_module()
class SeededBatchSampler(Sampler):
    """Batches of a sampler's indices with what the random numbers of their samples depend on.

    A sampler that repeats images within a pass makes copies of them. ``RepeatAugSampler`` and
    ``LabeledShareBatchSampler`` deal the copies to the processes; of any other sampler each process counts its own.

    Args:
        sampler: A ``Sampler`` that gives the indices; its ``set_epoch`` is called where it has one.
        batch_size: Images in a batch.
        drop_last: Leave an incomplete last batch out.
        batches: Config of another batch sampler to take the batches from; None takes PyTorch's.
        waits: Give no batch before :meth:`place` was called: workers would load ahead from the wrong place.
        period: Passes after which the random numbers of a sample come again; None: never.
    """

    def __init__(
        self,
        sampler: Any,
        batch_size: int,
        drop_last: bool = False,
        batches: dict | None = None,
        waits: bool = False,
        period: int | None = None,
    ) -> None:
        self.sampler, self.period = sampler, period
        self.batch_size = batch_size
        self.batches = (
            BatchSampler(sampler, batch_size, drop_last)
            if batches is None
            else DATA_SAMPLERS.build(batches, default_args=dict(sampler=sampler, batch_size=batch_size))
        )
        self._place = None if waits else (0, 0, 0, False)

    def place(self, seed: int, epoch: int, first: int = 0, endless: bool = False) -> None:
        """Say where the next iteration over the batches begins.

        Args:
            seed: Of the data.
            epoch: The pass over the data that it begins with, from 0.
            first: The batch that it begins with; the ones before are not loaded.
            endless: Whether it goes on with the next pass after the last batch of one.
        """
        self._place = (seed, epoch, first, endless)
        if hasattr(self.sampler, 'seed'):
            self.sampler.seed = seed
        self._set_epoch(epoch)

    def __iter__(self) -> Iterator[SeededBatch]:
        if self._place is None:
            return
        seed, epoch, first, endless = self._place
        number, length = 0, len(self)
        while True:
            counts = self._new_counts()
            for indices in self.batches:
                if number and number % length == 0:  # an endless sampler has no passes of its own
                    counts = self._new_counts()
                copies = indices.copies if isinstance(indices, CountedBatch) else counts(indices)
                if number >= first:
                    drawn = epoch + number // length
                    yield SeededBatch(indices, copies, seed, drawn if self.period is None else drawn % self.period)
                number += 1
            if not endless:
                return
            self._set_epoch(epoch + number // length)

    def __len__(self) -> int:
        return len(self.batches)  # of a whole pass, which schedules and progress count with

    def _set_epoch(self, epoch: int) -> None:
        for part in (self.sampler, self.batches):
            if hasattr(part, 'set_epoch'):
                part.set_epoch(epoch)

    def _new_counts(self) -> Callable[[Sequence[int]], np.ndarray]:
        """A function that says of the indices of one batch after the other which copy each is."""
        repeats = getattr(self.sampler, 'num_repeats', None)
        if repeats is not None:  # the copies follow one another, and the processes take one each in turn
            place = itertools.count(self.sampler.rank, self.sampler.world_size)
            return lambda indices: np.array([next(place) % repeats for _ in indices])
        seen: dict[int, int] = {}

        def count(indices: Sequence[int]) -> np.ndarray:
            copies = np.zeros(len(indices), dtype=np.int64)
            for at, index in enumerate(indices):
                copies[at] = seen[index] = seen.get(index, -1) + 1
            return copies

        return count


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A dataset that knows its samples by number, and whose random transforms follow the sample they work for.

    Args:
        dataset: Config of the dataset, whose attributes it takes on.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
        self._numbers, self._copies, _ = numbers_of(self.dataset)
        self._repeats = int(self._copies.max(initial=0)) + 1

    def __getattr__(self, name: str):
        if name == 'dataset':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        return self.dataset[index]

    def __getitems__(self, batch: SeededBatch) -> KeyedItems:
        index = np.array(batch, dtype=np.int64)
        numbers, copies = self._numbers[index], self._copies[index] + self._repeats * batch.copies
        keys = SampleKeys(batch.seed, batch.epoch, torch.from_numpy(numbers), torch.from_numpy(copies))
        if hasattr(self.dataset, '__getitems__'):  # one reading for all: what it draws follows the first sample
            seed_generators(Stream.LOADING, batch.seed, batch.epoch, int(numbers[0]), int(copies[0]))
            return KeyedItems(keys, self.dataset.__getitems__(batch))
        items = []
        for at, number, copy in zip(batch, numbers.tolist(), copies.tolist(), strict=True):
            seed_generators(Stream.LOADING, batch.seed, batch.epoch, number, copy)
            items.append(self.dataset[at])
        return KeyedItems(keys, items)


class KeyedCollate:
    """A collate function that puts the keys of the samples into the batch as ``keys``.

    Args:
        collate: Config or function, as ``collate_fn`` of a loader.
        attach: Whether the batch gets them: a model that does not know them could not take them.
    """

    def __init__(self, collate: dict | Callable, attach: bool) -> None:
        if not callable(collate):
            options = dict(collate)
            kind = options.pop('type')
            collate = partial(FUNCTIONS.get(kind) if isinstance(kind, str) else kind, **options)
        self.collate, self.attach = collate, attach

    def __call__(self, batch: KeyedItems):
        collated = self.collate(batch.items)
        if self.attach and isinstance(collated, dict):
            collated['keys'] = batch.keys
        return collated


def seeded_loader(dataloader: dict, attach: bool = True, waits: bool = False, period: int | None = None) -> dict:
    """A loader's config whose samples are drawn for by their numbers.

    Args:
        dataloader: The config.
        attach: Whether the batches carry the keys of their samples.
        waits: As in :class:`SeededBatchSampler`.
        period: As in :class:`SeededBatchSampler`.
    """
    config = dict(dataloader)
    batch_sampler = dict(
        type='SeededBatchSampler',
        drop_last=config.pop('drop_last', False),
        batches=config.pop('batch_sampler', None),
        waits=waits,
        period=period,
    )
    return dict(
        config,
        dataset=dict(type='SeededDataset', dataset=config['dataset']),
        batch_sampler=batch_sampler,
        collate_fn=KeyedCollate(config.get('collate_fn', dict(type='pseudo_collate')), attach),
    )
