"""The hook that logs the throughput."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import LoggerHook
from mmengine.logging import MessageHub
from mmengine.runner import Runner

from crld_zoo.engine.throughput import ThroughputHook


class Loader(SimpleNamespace):
    """A loader of so many batches, with these attributes."""

    def __init__(self, length: int, **attributes) -> None:
        super().__init__(**attributes)
        self.length = length

    def __len__(self) -> int:
        return self.length


class Run:
    """What the hook asks a runner for, with loops of known length."""

    def __init__(self, name: str, interval: int = 50, length: int = 1000, **loader) -> None:
        self.hooks = [LoggerHook(interval=interval)]
        self.message_hub = MessageHub.get_instance(name)
        self.train_dataloader = Loader(
            length, **{'num_workers': 0, 'persistent_workers': False, 'dataset': SimpleNamespace(), **loader}
        )
        self.warnings = []
        self.logger = SimpleNamespace(warning=self.warnings.append)
        self.model = torch.nn.Linear(1, 1)

    def figures(self) -> tuple[float, float]:
        return tuple(
            self.message_hub.get_scalar(f'train/{name}').current() for name in ('images_per_second', 'data_share')
        )


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told to."""
    now = [100.0]
    monkeypatch.setattr(time, 'perf_counter', lambda: now[0])
    return now


def begun(hook: ThroughputHook, run: Run) -> ThroughputHook:
    """The hook in the first epoch of a run."""
    hook.before_train(run)
    hook.before_train_epoch(run)
    return hook


def iterate(hook: ThroughputHook, run: Run, clock: list, index: int, wait: float, work: float, images: int = 8) -> None:
    batch = dict(data_samples=torch.zeros(images))
    clock[0] += wait
    hook.before_train_iter(run, index, batch)
    clock[0] += work
    hook.after_train_iter(run, index, batch, {})


def test_figures_are_means_since_the_last_ones(clock, request):
    run = Run(request.node.name, interval=4)
    hook = begun(ThroughputHook(), run)
    for index in range(3):
        iterate(hook, run, clock, index, wait=0.1, work=0.3)
    assert not run.message_hub.log_scalars, 'nothing before the interval is over'
    iterate(hook, run, clock, 3, wait=0.1, work=0.3)
    assert run.figures() == pytest.approx((8 / 0.4, 0.25))
    for index in range(4, 8):
        iterate(hook, run, clock, index, wait=0.3, work=0.1)
    seconds = 4 * 0.4
    waiting = 0.1 + 3 * 0.3  # the fourth iteration's wait had not been counted, the eighth's is not yet
    assert run.figures() == pytest.approx((4 * 8 / seconds, waiting / seconds))
    assert not run.message_hub.state_dict()['log_scalars'], 'nothing of it goes into checkpoints'


def test_the_time_between_epochs_does_not_count(clock, request):
    run, hook = Run(request.node.name, interval=3), ThroughputHook()
    hook.before_train(run)
    for epoch in range(2):
        hook.before_train_epoch(run)
        for index in range(3):
            iterate(hook, run, clock, index, wait=0.0, work=0.5)
        assert run.figures()[0] == pytest.approx(8 / 0.5), epoch
        clock[0] += 1000  # a validation


def test_a_validation_within_an_epoch_does_not_count(clock, request):
    run = Run(request.node.name, interval=4)
    hook = begun(ThroughputHook(), run)
    for index in range(4):
        iterate(hook, run, clock, index, wait=0.1, work=0.4)
        clock[0] += 1000
        hook.after_val(run)
    assert run.figures() == pytest.approx((8 / 0.5, 0.2))


def test_short_epochs_are_logged_at_their_end(clock, request):
    run = Run(request.node.name, length=2)
    hook = begun(ThroughputHook(), run)
    for index in range(2):
        iterate(hook, run, clock, index, wait=0.5, work=0.5)
    assert run.figures() == pytest.approx((8.0, 0.5))


def test_the_figures_are_in_the_ordinary_log(recipe, tmp_path):
    cfg = Config.fromfile(recipe)
    cfg.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'run'),
            val_dataloader=None,
            val_cfg=None,
            val_evaluator=None,
            experiment_name='throughput',
            custom_hooks=[dict(type='ThroughputHook')],
            default_hooks=dict(_delete_=True, logger=dict(type='LoggerHook', interval=3), checkpoint=None),
        )
    )
    cfg.model.teacher.checkpoint = 'random'
    cfg.train_cfg.by_epoch = True
    Runner.from_cfg(cfg).train()
    (log,) = (tmp_path / 'run').rglob('*.log')
    lines = [line for line in log.read_text().splitlines() if 'Epoch(train)' in line]
    assert len(lines) == 2
    for line in lines:
        assert float(line.split('images_per_second: ')[1].split()[0]) > 0
        assert 0 < float(line.split('data_share: ')[1].split()[0]) < 1
