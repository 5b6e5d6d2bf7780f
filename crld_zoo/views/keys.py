"""Random numbers as a function of the sample: no generator, no state, nothing that was drawn before.

Each number is a hash of the run's seed, the pass over the data, the sample's number in its data set, the name of what
is drawn (a view) and the draw's place. So a sample draws the same on every device, at any batch size, on any number of
processes and after any resume, whatever else is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's increment and multipliers, as signed numbers: arithmetic wraps
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
_STEP = 0xD1342543DE82EF95 - 2**64  # from draw to draw: odd, and no small multiple of the increment
_COPY_BIT = 40


class SampleKeys(NamedTuple):
    """What the random numbers of a batch depend on.

    Attributes:
        seed: The seed of the data.
        epoch: The pass over the data, from 0; where training counts iterations, the iteration over the loader's length.
        samples: The number of each sample, int64 ``(N,)``, below 2^40: its index in the data set before any reduction
            to a subset. Data sets that are concatenated are numbered one after the other.
        copies: How often the sample came before in this pass, int64 ``(N,)``, below 2^23: copies of it are drawn for
            separately.
        host: Samples and copies once more, on the CPU, for who looks something up by them: reading them back from a
            GPU would wait for all that it has still to do.
    """

    seed: int
    epoch: int
    samples: Tensor
    copies: Tensor
    host: tuple[np.ndarray, np.ndarray] | None = None


def uniform(keys: SampleKeys, draws: Mapping[str, int]) -> dict[str, Tensor]:
    """Uniform random numbers for the samples of a batch.

    SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators",
    `doi 10.1145/2714064.2660195 <https://doi.org/10.1145/2714064.2660195>`_), with the mixing function of Vigna's
    `splitmix64.c <https://prng.di.unimi.it/splitmix64.c>`_: a name's stream begins at the BLAKE2b hash of (seed, epoch,
    name), each (sample, copy) stands at a place of its own in it, and the draws follow from there, in steps of another
    odd constant. The upper 53 bits are the number.

    Args:
        keys: Of the batch, ``N`` samples.
        draws: How many numbers each sample needs by what they are for, such as a view. Each name has its own numbers,
            whichever others are asked for.

    Returns:
        float64 ``(draws, N)`` in [0, 1) for each name, on the device of the keys; the same bits on every device.

    Example:
        >>> keys = SampleKeys(seed=0, epoch=0, samples=torch.tensor([7, 8]), copies=torch.tensor([0, 0]))
        >>> numbers = uniform(keys, dict(weak=3, strong=8))
        >>> numbers['weak'].shape
        torch.Size([3, 2])
        >>> one = keys._replace(samples=keys.samples[1:], copies=keys.copies[1:])
        >>> torch.equal(uniform(one, dict(weak=2))['weak'], numbers['weak'][:2, 1:])
        True
    """
    if not draws:
        return {}
    rows, samples, copies = _rows(keys.seed, keys.epoch, tuple(draws.items())), keys.samples, keys.copies
    if samples.device.type == 'cpu':  # the same integers and operators; a call of NumPy's costs a third of torch's
        numbers = torch.from_numpy(_bits(samples.numpy(), copies.numpy(), rows) * 2.0**-53)
    else:
        rows_there = torch.from_numpy(rows).to(samples.device, non_blocking=True)
        numbers = _bits(samples, copies, rows_there).double().mul_(2.0**-53)
    return dict(zip(draws, numbers.split([*draws.values()]), strict=True))


@lru_cache(maxsize=16)  # the same for all batches of a pass
def _rows(seed: int, epoch: int, draws: tuple[tuple[str, int], ...]) -> np.ndarray:
    """Where each draw stands in SplitMix64's sequence, apart from the sample, int64 ``(draws,)``."""
    return np.concatenate([np.arange(count) * _STEP + _stream(seed, epoch, name) for name, count in draws])


def _stream(seed: int, epoch: int, name: str) -> int:
    digest = hashlib.blake2b(f'{seed} {epoch} {name}'.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little', signed=True)


def _bits(samples, copies, rows):
    """53 random bits of each draw and sample, int64 ``(draws, N)``, in NumPy or torch."""
    return _shifted(_mix((samples + (copies << _COPY_BIT)) * _GOLDEN + rows[:, None]), 11)


def _mix(bits):
    """SplitMix64's mixing function, in place, of int64 in NumPy or torch."""
    bits ^= _shifted(bits, 30)
    bits *= _FIRST
    bits ^= _shifted(bits, 27)
    bits *= _SECOND
    bits ^= _shifted(bits, 31)
    return bits


def _shifted(bits, count: int):
    """Shifted right with zeros coming in, not the sign."""
    if isinstance(bits, np.ndarray):
        return (bits.view(np.uint64) >> np.uint64(count)).view(np.int64)
    return (bits >> count) & (2 ** (64 - count) - 1)
