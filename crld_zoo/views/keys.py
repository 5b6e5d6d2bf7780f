"""Random numbers as a function of which sample they are for.

Every uniform number that a view draws is a hash of the run's seed, the pass over the data, the sample's number in its
data set, which copy of the sample it is, the view's name and the draw's place. There is no generator and no state, so a
sample has the same view on every device, in every process, at every batch size, after every resume, and whichever
other views are made.

The hash is SplitMix64 (Steele, Lea, Flood, OOPSLA 2014; constants of Stafford's variant 13): the finalizer of a state
that is linear in the key, on int64 tensors, whose arithmetic wraps around alike everywhere.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_COLUMNS = (0xD1342543DE82EF95 - 2**64, 0xAF251AF3B0F025B5 - 2**64, 0x2545F4914F6CDD1D, 0xDA942042E4DD58B5 - 2**64)
"""Odd multipliers of seed, pass, number and copy: their sums do not meet for any that a training can have."""

_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class SampleKeys(NamedTuple):
    """What the views of a batch are drawn from, int64 ``(N,)`` each.

    Attributes:
        seed: The seed of the data.
        epoch: The pass over the data, counted from 0.
        samples: The number of each sample: its index in the whole split, whatever part of it is trained on.
        copies: Which copy of a sample it is, where one pass holds several.
    """

    seed: Tensor
    epoch: Tensor
    samples: Tensor
    copies: Tensor

    @classmethod
    def of_batch(cls, size: int, batch: int, seed: int, device: torch.device) -> SampleKeys:
        """Keys for a batch that came without: the sample's place in the batch, and a count of batches as its pass."""
        full = torch.full((size,), seed, device=device)
        return cls(full, torch.full_like(full, batch), torch.arange(size, device=device), torch.zeros_like(full))

    def rows(self, rows: slice) -> SampleKeys:
        """The keys of some of the samples."""
        return SampleKeys(*(column[rows] for column in self))


def mix(words: Tensor) -> Tensor:
    """SplitMix64's finalizer on int64: each bit of the result depends on each bit of the word.

    Example:
        >>> [f'{value % 2**64:016x}' for value in mix(torch.tensor([0, 1])).tolist()]
        ['0000000000000000', '5692161d100b05e5']
    """
    words = (words ^ _shifted(words, 30)) * _FIRST
    words = (words ^ _shifted(words, 27)) * _SECOND
    return words ^ _shifted(words, 31)


def uniform(keys: SampleKeys, view: str, draws: int) -> Tensor:
    """Uniform random numbers of a view, float64 ``(draws, N)`` in [0, 1), all in one call.

    Args:
        keys: Of the batch.
        view: The view's name.
        draws: How many numbers each sample needs.
    """
    name = int.from_bytes(hashlib.blake2b(view.encode(), digest_size=8).digest(), 'little', signed=True)
    state = sum(factor * column for factor, column in zip(_COLUMNS, keys, strict=True))
    places = torch.arange(1, draws + 1, device=state.device) * _GOLDEN + name
    return (
        mix(state + places[:, None]) >> 11
    ).double() * 2.0**-53 + 0.5  # exact: the upper 53 bits, as a signed number


def _shifted(words: Tensor, bits: int) -> Tensor:
    """Shifted right with zeros coming in; torch's shift of signed numbers brings in their sign."""
    return (words >> bits) & ((1 << (64 - bits)) - 1)
