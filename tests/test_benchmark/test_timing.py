"""Clocks and spreads."""

from __future__ import annotations

import time

import pytest
import torch

from crld_zoo.benchmark.timing import Clock, Spread, Stages


def test_spread():
    spread = Spread.of([4.0, 1.0, 3.0, 2.0, 100.0])
    assert spread == (3.0, 1.0, 100.0)
    assert spread.scaled(lambda seconds: 6 / seconds) == (2.0, 0.06, 6.0), 'low stays the smaller end'
    assert Spread.of([7.0]) == (7.0, 7.0, 7.0)


def test_the_clock_divides_by_the_calls():
    clock = Clock(torch.device('cpu'))
    calls = []
    seconds = clock.time(lambda: (calls.append(1), time.sleep(0.01)), 4)
    assert len(calls) == 4
    assert 0.01 <= seconds < 4 * 0.01 + 1


def test_stages_take_turns_and_repeat_what_is_short():
    order = []
    works = dict(long=lambda: (order.append('long'), time.sleep(0.03)), short=lambda: order.append('short'))
    stages = Stages(works, Clock(torch.device('cpu')), seconds=0.02)
    assert stages.calls['long'] == 1
    assert stages.calls['short'] > 1
    order.clear()
    times = stages.measure()
    assert order == ['long'] + ['short'] * stages.calls['short']
    assert times['long'] >= 0.03 > times['short'] > 0


@pytest.mark.cuda
def test_the_clock_waits_for_the_gpu():
    a = torch.randn(4096, 4096, device='cuda')

    def work():
        for _ in range(20):
            a @ a

    start = time.perf_counter()
    work()
    queued = time.perf_counter() - start
    torch.cuda.synchronize()
    assert Clock(a.device).time(work, 1) > queued
