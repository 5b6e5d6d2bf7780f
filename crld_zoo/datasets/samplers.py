"""Which images go into a batch."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from mmengine.dataset import DefaultSampler
from torch.utils.data import Sampler

from crld_zoo.errors import InputError
from crld_zoo.registry import DATA_SAMPLERS

from .labels import labels_of
from .subset import UNLABELED


class CountedBatch(list):
    """The indices of a batch whose sampler knows how often each came before in this pass, on all processes together.

    Attributes:
        copies: That count, int64 ``(N,)``.
    """

    def __init__(self, indices: list[int], copies: np.ndarray) -> None:
        super().__init__(indices)
        self.copies = copies


@DATA_SAMPLERS.register_module()
class LabeledShareBatchSampler(Sampler):
    """Batches with a fixed share of labeled images, of a dataset of which few have a label.

    .. code-block:: python

        train_dataloader = dict(
            batch_size=64, num_workers=0,
            dataset=dict(type='InMemoryCIFAR100', data_root='data', split='train', fraction=0.1, others='unlabeled'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            batch_sampler=dict(type='LabeledShareBatchSampler', share=0.25),
            collate_fn=dict(type='as_batch'))

    An epoch is one pass over the images that last longer, normally the unlabeled; the others begin anew, in another
    order, as often as it takes. Every batch is full and begins with its labeled images. The order is a function of
    the sampler's seed and epoch; processes deal one order among them, so each step sees on all of them together what
    one process would see at the whole batch size.

    Args:
        sampler: MMEngine's ``DefaultSampler``, which says the dataset, seed, epoch and process; its own order is not
            used.
        batch_size: Images in a batch, on each process.
        share: Of labeled images in a batch, rounded to whole images.

    Raises:
        InputError: A share that leaves no labeled or no unlabeled image in a batch, a dataset without either kind,
            another sampler.
    """

    def __init__(self, sampler: DefaultSampler, batch_size: int, share: float) -> None:
        missing = [name for name in ('dataset', 'seed', 'epoch', 'rank', 'world_size') if not hasattr(sampler, name)]
        if missing:
            raise InputError(
                'LabeledShareBatchSampler goes with a DefaultSampler, but '
                f'{type(sampler).__name__} has no {missing[0]}.'
            )
        labeled = round(share * batch_size)
        if not 0 < labeled < batch_size:
            raise InputError(
                f'LabeledShareBatchSampler: share={share} of a batch of {batch_size} is {labeled} labeled images: '
                'there must be at least one labeled and one unlabeled image in it.'
            )
        labels = labels_of(sampler.dataset)
        self.sampler = sampler
        self.batch_size = batch_size
        self._pools = (np.flatnonzero(labels != UNLABELED), np.flatnonzero(labels == UNLABELED))
        self._counts = (labeled, batch_size - labeled)
        for pool, kind in zip(self._pools, ('labeled', 'unlabeled'), strict=True):
            if not len(pool):
                raise InputError(f'LabeledShareBatchSampler: the dataset has no {kind} image: leave batch_sampler out.')

    def __iter__(self) -> Iterator[CountedBatch]:
        sampler, steps = self.sampler, len(self)
        orders: list[np.ndarray] = []
        copies: list[np.ndarray] = []
        for kind, (pool, count) in enumerate(zip(self._pools, self._counts, strict=True)):
            order = _order(pool, steps * count * sampler.world_size, (sampler.seed, sampler.epoch, kind))
            for rows, values in ((orders, order), (copies, np.arange(len(order)) // len(pool))):
                rows.append(values.reshape(steps, sampler.world_size, count)[:, sampler.rank])
        for indices, own in zip(np.concatenate(orders, 1), np.concatenate(copies, 1), strict=True):
            yield CountedBatch(indices.tolist(), own)

    def __len__(self) -> int:
        return max(
            math.ceil(len(pool) / (count * self.sampler.world_size))
            for pool, count in zip(self._pools, self._counts, strict=True)
        )


def _order(pool: np.ndarray, count: int, key: tuple[int, ...]) -> np.ndarray:
    """``count`` of the pool, in whole shuffled passes but for the last."""
    random = np.random.Generator(np.random.Philox(np.random.SeedSequence(key)))
    return np.concatenate([random.permutation(pool) for _ in range(math.ceil(count / len(pool)))])[:count]
