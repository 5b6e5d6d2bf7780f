"""Every distiller on two processes with half a batch each, against one process with all of it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from crld_zoo.launch.processes import leave_group

from ..processes import run_two
from .cases import CASES, TWO_DEEP, build, draws, ready, rows_of
from .testers import begin, losses, observe, prepared, random_predictions, statistics

SIZE = 8
STEPS = 2
TESTED = [case for case in CASES if '(' not in case or case.rstrip(')').split('(')[1:] in [[name] for name in TWO_DEEP]]


def course(case: str, rank: int = 0, world_size: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The losses of some steps on a process's share of each batch, and the buffers after them."""
    torch.default_generator.manual_seed(0)
    distiller, _ = prepared(build(case), SIZE, 5, steps=0, rows=rows_of(CASES[case]))
    share = SIZE // world_size
    found = {}
    for step in range(STEPS):
        begin(distiller, step + 1)
        whole = random_predictions(distiller, SIZE, 5, seed=step, rows=rows_of(CASES[case]))
        batch = whole[rank * share : (rank + 1) * share]
        found |= {f'{name} of step {step}': value.detach() for name, value in losses(distiller, batch).items()}
        observe(distiller, batch)
    own = {name: value.clone() for name, value in distiller.named_buffers() if name not in statistics(distiller)}
    return found, own


def work(rank: int, folder, cases: list[str]) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    torch.save({case: course(case, rank, 2) for case in cases}, folder / f'{rank}.pt')
    leave_group()


@pytest.fixture(scope='module')
def processes(request, tmp_path_factory):
    """What each of two processes found of the distillers that are tested."""
    cases = [
        item.callspec.params['case']
        for item in request.session.items
        if getattr(item, 'module', None) is request.module
    ]
    folder = tmp_path_factory.mktemp('processes')
    run_two(work, folder, cases)
    return [torch.load(folder / f'{rank}.pt') for rank in range(2)]


@pytest.mark.parametrize('case', TESTED)
def test_two_processes_are_as_one(case, processes):
    """Their mean losses are one process's where each sample stands alone; what they remember is the same everywhere."""
    (first, kept), (second, also_kept) = (each[case] for each in processes)
    whole, remembered = course(case)
    for name, value in remembered.items():
        torch.testing.assert_close(kept[name], also_kept[name], rtol=0, atol=0, msg=f'{name} differs between processes')
        torch.testing.assert_close(kept[name], value, rtol=1e-12, atol=1e-12, msg=lambda m, name=name: f'{name}: {m}')
    if build(case).per_sample and not draws(*ready(case, 6, 5)):
        for name, value in whole.items():
            torch.testing.assert_close(
                (first[name] + second[name]) / 2, value, rtol=1e-10, atol=1e-12, msg=lambda m, name=name: f'{name}: {m}'
            )
