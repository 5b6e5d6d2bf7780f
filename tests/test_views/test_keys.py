"""Random numbers as a function of the sample: published mixing, uniform, independent in every direction."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import stats

from crld_zoo.views import SampleKeys, uniform
from crld_zoo.views.keys import _GOLDEN, _mix

from .conftest import keys

P_VALUE = 1e-3  # as in test_randaugment.py
COUNT = 20_000


@pytest.mark.parametrize('arrays', [np, torch])
def test_the_mixing_function_is_the_published_one(arrays):
    """The first outputs of splitmix64.c for the seed 1234567."""
    outputs = _mix(arrays.arange(1, 6) * _GOLDEN + 1234567)
    assert [int(output) % 2**64 for output in outputs] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_the_form_of_the_numbers():
    numbers = uniform(keys(5), dict(weak=3, none=0, strong=10))
    assert {name: tuple(own.shape) for name, own in numbers.items()} == dict(weak=(3, 5), none=(0, 5), strong=(10, 5))
    assert all(own.dtype == torch.float64 for own in numbers.values())
    assert uniform(keys(5), {}) == {}


def test_uniform():
    numbers = uniform(keys(COUNT), dict(weak=8))['weak'].numpy()
    assert numbers.min() >= 0 and numbers.max() < 1
    for draw in numbers:
        assert stats.kstest(draw, 'uniform').pvalue > P_VALUE
    low_bits = (numbers.flatten() * 2**53).astype(np.int64) % 256
    assert stats.chisquare(np.bincount(low_bits, minlength=256)).pvalue > P_VALUE


def neighbors() -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Numbers whose keys differ in one part only, and by little."""
    first = uniform(keys(COUNT), dict(weak=2, strong=1))
    draw, next_draw = first['weak']
    copies = torch.ones(COUNT, dtype=torch.long)
    return dict(
        draws=(draw, next_draw),
        samples=(draw[:-1], draw[1:]),
        far_samples=(draw, uniform(keys(COUNT, first=2**20), dict(weak=1))['weak'][0]),
        views=(draw, first['strong'][0]),
        epochs=(draw, uniform(keys(COUNT, epoch=1), dict(weak=1))['weak'][0]),
        seeds=(draw, uniform(keys(COUNT, seed=1), dict(weak=1))['weak'][0]),
        copies=(draw, uniform(keys(COUNT)._replace(copies=copies), dict(weak=1))['weak'][0]),
    )


@pytest.mark.parametrize('part', neighbors())
def test_independent_between(part):
    first, second = neighbors()[part]
    cells = torch.bincount((first * 10).long() * 10 + (second * 10).long(), minlength=100)
    assert stats.chisquare(cells.tolist()).pvalue > P_VALUE
    assert abs(stats.pearsonr(first.numpy(), second.numpy()).statistic) < 4 / COUNT**0.5


def test_independent_over_many_epochs():
    """One sample over the epochs, as one image is seen in a training."""
    series = torch.stack([uniform(keys(4, epoch=epoch), dict(weak=2))['weak'] for epoch in range(5000)])
    for draw, sample in itertools.product(range(2), range(4)):
        values = series[:, draw, sample].numpy()
        assert stats.kstest(values, 'uniform').pvalue > P_VALUE
        assert abs(stats.pearsonr(values[:-1], values[1:]).statistic) < 4 / 5000**0.5


def test_no_two_keys_share_their_numbers():
    seen = set()
    for seed, epoch, copy in itertools.product((0, 1, 2**40), range(3), range(3)):
        own = SampleKeys(seed, epoch, torch.arange(1000), torch.full((1000,), copy))
        for numbers in uniform(own, dict(weak=2, strong=2)).values():
            seen.update(numbers.flatten().tolist())
    assert len(seen) == 3 * 3 * 3 * 1000 * 4


def test_numbers_do_not_depend_on_the_process():
    """Python's own hash of a name differs from process to process."""
    code = (
        'import torch; from crld_zoo.views.keys import *; '
        "print(uniform(SampleKeys(3, 4, torch.tensor([5]), torch.tensor([0])), dict(weak=1))['weak'].item())"
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    own = SampleKeys(3, 4, torch.tensor([5]), torch.tensor([0]))
    assert float(done.stdout) == uniform(own, dict(weak=1))['weak'].item()


@pytest.mark.cuda
def test_the_same_bits_on_the_gpu_without_waiting():
    own = keys(1000)
    on_gpu = own._replace(samples=own.samples.cuda(), copies=own.copies.cuda())
    torch.cuda.set_sync_debug_mode('error')
    try:
        numbers = uniform(on_gpu, dict(weak=3, strong=10))
    finally:
        torch.cuda.set_sync_debug_mode('default')
    assert all(
        torch.equal(numbers[name].cpu(), expected) for name, expected in uniform(own, dict(weak=3, strong=10)).items()
    )
