"""Random numbers as a function of the sample: no generator, no state, nothing that was drawn before.

Each number is a hash of the run's seed, the pass over the data, the sample's number in its data set, the name of what
is drawn (a view) and the draw's place. So a sample draws the same on every device, at any batch size, on any number of
processes and after any resume, whatever else is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # SplitMix64's increment and multipliers, as signed numbers: arithmetic wraps
_FIRST, _SECOND = 0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64
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
    """

    seed: int
    epoch: int
    samples: Tensor
    copies: Tensor


def uniform(keys: SampleKeys, draws: Mapping[str, int]) -> dict[str, Tensor]:
    """Uniform random numbers for the samples of a batch.

    SplitMix64 (Steele, Lea and Flood, 2014, "Fast splittable pseudorandom number generators",
    `doi 10.1145/2714064.2660195 <https://doi.org/10.1145/2714064.2660195>`_, with the mixing function of Vigna's
    `splitmix64.c <https://prng.di.unimi.it/splitmix64.c>`_), twice: the stream of (seed, epoch, name), whose seed is
    their BLAKE2b hash, gives each (sample, copy) the seed of its own stream, whose first outputs are the draws. The
    upper 53 bits are the number.

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
    arrays, on = torch, dict(device=keys.samples.device)
    samples, copies = keys.samples, keys.copies
    if samples.device.type == 'cpu':  # the same integers and operators; a call of NumPy's costs a third of torch's
        arrays, on, samples, copies = np, {}, samples.numpy(), copies.numpy()
    counters = (samples + (copies << _COPY_BIT)) * _GOLDEN
    states = _mix(arrays.stack([counters + _stream(keys.seed, keys.epoch, name) for name in draws]))
    places = arrays.arange(1, max(draws.values()) + 1, **on).reshape(-1, 1) * _GOLDEN
    bits = _mix(
        arrays.concatenate([state + places[:count] for state, count in zip(states, draws.values(), strict=True)])
    )
    bits >>= 11
    bits &= 2**53 - 1
    numbers = torch.from_numpy(bits * 2.0**-53) if arrays is np else bits.double().mul_(2.0**-53)
    return dict(zip(draws, numbers.split([*draws.values()]), strict=True))


def _stream(seed: int, epoch: int, name: str) -> int:
    digest = hashlib.blake2b(f'{seed} {epoch} {name}'.encode(), digest_size=8).digest()
    return int.from_bytes(digest, 'little', signed=True)


def _mix(bits):
    """SplitMix64's mixing function, in place. The masks make the shifts of signed numbers logical ones."""
    bits ^= (bits >> 30) & (2**34 - 1)
    bits *= _FIRST
    bits ^= (bits >> 27) & (2**37 - 1)
    bits *= _SECOND
    bits ^= (bits >> 31) & (2**33 - 1)
    return bits
