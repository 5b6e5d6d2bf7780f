"""A run that is told to stop saves where it stands and says so by its exit code."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS

from crld_zoo.engine import PREEMPTED, PreemptionHook, preemption, stopping_in_order
from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from . import tiny_run


class Signal(Hook):
    """Signals the own process before a batch."""

    def __init__(self, number: int = signal.SIGTERM, before_batch: int = 9, stage: str = 'train') -> None:
        self.number, self.batch, self.stage, self.seen = number, before_batch, stage, 0

    def _before_iter(self, runner, batch_idx, data_batch=None, mode='train') -> None:
        self.seen += mode == self.stage
        if mode == self.stage and self.seen == self.batch:
            os.kill(os.getpid(), self.number)


def told_to_stop(work_dir, hook: Hook, **changes) -> None:
    with stopping_in_order(), pytest.raises(SystemExit) as caught:
        tiny_run.train(work_dir, hooks=[hook], **changes)
    assert caught.value.code == PREEMPTED == 75


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_it_stops_after_the_iteration_and_resumes(tmp_path, number):
    signal.signal(number, signal.SIG_DFL)  # under nohup it would be ignored, rightly
    told_to_stop(tmp_path / 'run', Signal(number))
    assert torch.load(tmp_path / 'run' / 'snapshot.pth')['meta']['iter'] == 9
    tiny_run.resume(tmp_path / 'run')
    tiny_run.train(tmp_path / 'undisturbed')
    last, undisturbed = (torch.load(tmp_path / run / 'epoch_4.pth') for run in ('run', 'undisturbed'))
    assert tiny_run.differences(undisturbed, last) == []
    assert not (tmp_path / 'run' / 'snapshot.pth').exists()


def test_in_a_validation_nothing_is_lost(tmp_path):
    told_to_stop(tmp_path, Signal(before_batch=8, stage='val'))
    assert [path.name for path in sorted(tmp_path.glob('*.pth'))] == ['epoch_1.pth', 'epoch_2.pth']
    assert len(tiny_run.resume(tmp_path).message_hub.get_scalar('val/top1').data[0]) == 4


def test_a_validation_of_an_unsaved_epoch_is_finished_first(tmp_path):
    told_to_stop(tmp_path, Signal(before_batch=2, stage='val'), **{'default_hooks.checkpoint.interval': 4})
    assert torch.load(tmp_path / 'snapshot.pth')['meta']['iter'] == 7


def test_it_waits_for_accumulated_gradients(tmp_path):
    told_to_stop(tmp_path, Signal(before_batch=7), **{'optim_wrapper.accumulative_counts': 4})
    assert torch.load(tmp_path / 'snapshot.pth')['meta']['iter'] == 8


def test_outside_of_a_training_it_stops_at_once():
    with pytest.raises(SystemExit) as caught, stopping_in_order():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)
    assert caught.value.code == PREEMPTED


def test_the_handlers_are_put_back():
    before = [signal.getsignal(number) for number in preemption.SIGNALS]
    with stopping_in_order():
        assert [signal.getsignal(number) for number in preemption.SIGNALS] != before
    assert [signal.getsignal(number) for number in preemption.SIGNALS] == before


def test_a_signal_that_was_ignored_from_the_start_stays_ignored(tmp_path):
    """As nohup starts its command."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopping_in_order():
            assert tiny_run.train(tmp_path, hooks=[Signal(signal.SIGHUP)]).iter == 24
    finally:
        signal.signal(signal.SIGHUP, before)


def test_signals_that_a_platform_lacks_are_left_out(monkeypatch):
    for name in ('SIGUSR1', 'SIGHUP'):  # Windows
        monkeypatch.delattr(signal, name)
    module = importlib.util.module_from_spec(importlib.util.find_spec('crld_zoo.engine.preemption'))
    monkeypatch.setattr(HOOKS, 'register_module', lambda: lambda hook: hook)
    monkeypatch.setattr(FUNCTIONS, 'register_module', lambda: lambda function: function)
    module.__spec__.loader.exec_module(module)
    assert module.SIGNALS == (signal.SIGTERM,)


_TWICE = """
import os, signal, sys, time
from crld_zoo.engine import preemption
preemption._ONE_REQUEST = 0.2
with preemption.stopping_in_order():
    preemption._STOP.training = True
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # the launcher passes the scheduler's signal on
    print('one request', flush=True)
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGTERM)
    print('still there', flush=True)
"""


def test_a_second_signal_ends_it_at_once():
    ended = subprocess.run([sys.executable, '-c', _TWICE], capture_output=True, text=True)
    assert ended.returncode == -signal.SIGTERM
    assert ended.stdout == 'one request\n'


def test_loader_workers_outlive_a_signal_to_the_whole_job(tmp_path):
    class SignalWorkers(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            if runner.iter == 8:
                workers = [str(worker.pid) for worker in runner.train_dataloader._iterator._workers]
                for number in ('USR1', 'TERM'):  # from another process than the trainer
                    subprocess.run(['kill', f'-{number}', *workers], check=True)

    workers = {
        'train_dataloader.num_workers': 2,
        'train_dataloader.persistent_workers': True,
        'train_dataloader.worker_init_fn': dict(type='obey_only_the_trainer'),
    }
    runner = tiny_run.build(tmp_path, **workers)
    runner.register_hook(SignalWorkers())
    runner.train()
    assert runner.iter == 24
    for worker in runner.train_dataloader._iterator._workers:  # what their trainer says, they do
        worker.terminate()
        worker.join(10)
        assert worker.exitcode == 0


def test_impossible_options():
    with pytest.raises(InputError, match='interval must be 1 or more'):
        PreemptionHook(interval=0)
