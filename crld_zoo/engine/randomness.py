"""Randomness as a function of where the training stands.

Nothing random may depend on what was drawn before, or a resumed run could not repeat it. So the generators of Python,
NumPy and PyTorch start anew at every epoch, every iteration and every batch that is loaded, from a seed that is a hash
of (stream, seed of the run, rank, epoch, batch). That costs about 20 microseconds a batch, needs no generator state
in checkpoints (one for each rank and device it would be), makes the data independent of the number of loader workers,
and keeps the training stream apart from whatever validation draws.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np
import torch
from mmengine.dist import get_rank
from torch.utils.data import BatchSampler, Dataset, Sampler

from crld_zoo.registry import DATA_SAMPLERS, DATASETS


class Stream(IntEnum):
    """Which of the independent random streams."""

    EPOCH = 0
    ITERATION = 1
    LOADING = 2
    VALIDATION = 3


def seed_generators(stream: Stream, seed: int, epoch: int, batch: int = 0, rank: int | None = None) -> None:
    """Start the generators of Python, NumPy and PyTorch (CPU, and the current CUDA device where one is in use) anew.

    Args:
        stream: What the numbers are for.
        seed: The run's seed.
        epoch: From 0.
        batch: From 0, within the epoch.
        rank: Of the process; None asks the process group.
    """
    key = (stream, seed, get_rank() if rank is None else rank, epoch, batch)
    words = np.random.SeedSequence(key).generate_state(8)
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:6])
    state = int.from_bytes(words[6:].tobytes(), 'little')
    # torch.manual_seed collects a traceback at each call while CUDA is not initialized, as in every loader worker.
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(state)


class SeededBatch(list):
    """The indices of a batch, which carry the seed it is loaded with to the loader's worker."""

    def __init__(self, indices: Sequence[int], key: tuple[int, int, int, int]) -> None:
        super().__init__(indices)
        self.key = key

    def seed_generators(self) -> None:
        """Start the generators anew in the process that loads the batch."""
        seed, rank, epoch, batch = self.key
        seed_generators(Stream.LOADING, seed, epoch, batch, rank)


@DATA_SAMPLERS.register_module()
class SeededBatchSampler(Sampler):
    """Batches of a sampler's indices, each with its own seed, from any batch of the epoch on.

    Args:
        sampler: Gives the indices; its ``set_epoch`` is called where it has one.
        batch_size: Images in a batch.
        drop_last: Leave an incomplete last batch out.
        batches: Config of another batch sampler to take the batches from; None takes PyTorch's.
    """

    def __init__(self, sampler: Sampler, batch_size: int, drop_last: bool = False, batches: dict | None = None) -> None:
        self.sampler = sampler
        self.batch_size = batch_size
        self.batches = (
            BatchSampler(sampler, batch_size, drop_last)
            if batches is None
            else DATA_SAMPLERS.build(batches, default_args=dict(sampler=sampler, batch_size=batch_size))
        )
        self.place(seed=0, epoch=0, first=0)

    def place(self, seed: int, epoch: int, first: int) -> None:
        """Say which epoch the next pass is and which batch it starts with; the ones before are not loaded."""
        self._seed, self._epoch, self._first = seed, epoch, first
        for part in (self.sampler, self.batches):
            if hasattr(part, 'set_epoch'):
                part.set_epoch(epoch)

    def __iter__(self) -> Iterator[SeededBatch]:
        seed, epoch, first, rank = self._seed, self._epoch, self._first, get_rank()
        for batch, indices in enumerate(self.batches):
            if batch >= first:
                yield SeededBatch(indices, (seed, rank, epoch, batch))

    def __len__(self) -> int:
        return len(self.batches)  # of a whole epoch, which schedules and progress count with


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A dataset whose random transforms follow the seed of the batch that they work for.

    Args:
        dataset: Config of the dataset, whose attributes it takes on.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()

    def __getattr__(self, name: str):
        if name == 'dataset':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        return self.dataset[index]

    def __getitems__(self, indices: SeededBatch):
        indices.seed_generators()
        if hasattr(self.dataset, '__getitems__'):
            return self.dataset.__getitems__(indices)
        return [self.dataset[index] for index in indices]


def seeded_loader(dataloader: dict) -> dict:
    """A loader's config with its dataset and its batches under the seeds of this module."""
    config = dict(dataloader)
    batch_sampler = dict(
        type='SeededBatchSampler', drop_last=config.pop('drop_last', False), batches=config.pop('batch_sampler', None)
    )
    return dict(config, dataset=dict(type='SeededDataset', dataset=config['dataset']), batch_sampler=batch_sampler)
