"""Randomness as a function of where the training stands.

Nothing random may depend on what was drawn before, or a resumed run could not repeat it. So the generators of Python,
NumPy and PyTorch start anew at every epoch and iteration, from a hash of (stream, seed of the run, rank, epoch, batch),
and at every image that a pipeline loads, from (seed of the data, pass, sample number, copy). That costs about 20
microseconds, needs no generator state in checkpoints (one for each rank and device it would be), makes the data
independent of batches, processes and loader workers, and keeps the training stream apart from what validation draws.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from enum import IntEnum

import numpy as np
import torch
from mmengine.dist import get_rank, get_world_size
from torch.utils.data import BatchSampler, Dataset, Sampler

from crld_zoo.datasets.labels import numbers_of
from crld_zoo.registry import DATA_SAMPLERS, DATASETS


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
        key: Whole numbers of at least 0 that the numbers depend on.
    """
    words = np.random.SeedSequence((stream, *key)).generate_state(8)
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:6])
    state = int.from_bytes(words[6:].tobytes(), 'little')
    # torch.manual_seed collects a traceback at each call while CUDA is not initialized, as in every loader worker.
    torch.default_generator.manual_seed(state)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(state)


class SeededBatch(list):
    """The indices of a batch, with what their samples are drawn from."""

    def __init__(self, indices: Sequence[int], seed: int, epoch: int, copies: Sequence[int]) -> None:
        super().__init__(indices)
        self.seed, self.epoch, self.copies = seed, epoch, copies


@DATA_SAMPLERS.register_module()
class SeededBatchSampler(Sampler):
    """Batches of a sampler's indices, with the seed and the pass over the data, from any batch of a pass on.

    A sampler that gives an image several times in a pass (``RepeatAugSampler``) makes numbered copies of it. Each
    process numbers its own, so such a pass depends on the number of processes.

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
        """Say which pass is next and which batch it starts with; the ones before are not loaded."""
        self._seed, self._epoch, self._first = seed, epoch, first

    def __iter__(self) -> Iterator[SeededBatch]:
        seed, epoch, first = self._seed, self._epoch, self._first
        self._epoch, self._first = epoch + 1, 0
        for part in (self.sampler, self.batches):
            if hasattr(part, 'set_epoch'):
                part.set_epoch(epoch)
        repeats, seen = getattr(self.sampler, 'num_repeats', 1) > 1, Counter()
        for batch, indices in enumerate(self.batches):
            copies = [0] * len(indices)
            if repeats:
                copies = [seen[index] * get_world_size() + get_rank() for index in indices]
                seen.update(indices)
            if batch >= first:
                yield SeededBatch(indices, seed, epoch + batch // len(self), copies)  # an endless sampler goes on

    def __len__(self) -> int:
        return len(self.batches)  # of a whole epoch, which schedules and progress count with


@DATASETS.register_module()
class SeededDataset(Dataset):
    """A dataset whose batches carry their ``sample_keys``: int64 rows of seed, pass, sample number, copy.

    Random transforms of a pipeline follow the key of the image that they work on.

    Args:
        dataset: Config of the dataset, whose attributes it takes on.
    """

    def __init__(self, dataset: dict) -> None:
        self.dataset = DATASETS.build(dataset)
        if hasattr(self.dataset, 'full_init'):
            self.dataset.full_init()
        self._numbers, self._copies, _ = numbers_of(self.dataset)

    def __getattr__(self, name: str):
        if name == 'dataset':  # while it is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        return self.dataset[index]

    def __getitems__(self, indices: SeededBatch):
        index = torch.as_tensor(list(indices))
        numbers, own = self._numbers[index], self._copies[index]
        copies = torch.as_tensor(indices.copies) * (int(self._copies.max()) + 1) + own
        keys = torch.stack(
            [torch.full_like(numbers, indices.seed), torch.full_like(numbers, indices.epoch), numbers, copies], dim=1
        )
        if hasattr(self.dataset, '__getitems__'):  # a batch as a whole, which draws nothing
            return dict(self.dataset.__getitems__(list(indices)), sample_keys=keys)
        samples = []
        for index, key in zip(indices, keys, strict=True):
            seed_generators(Stream.LOADING, *key.tolist())
            samples.append(dict(self.dataset[index], sample_keys=key))
        return samples


def seeded_loader(dataloader: dict) -> dict:
    """A loader's config with its dataset and its batches under the seeds of this module."""
    config = dict(dataloader)
    batch_sampler = dict(
        type='SeededBatchSampler', drop_last=config.pop('drop_last', False), batches=config.pop('batch_sampler', None)
    )
    return dict(config, dataset=dict(type='SeededDataset', dataset=config['dataset']), batch_sampler=batch_sampler)
