"""Runs that are told to stop: they save where they stand and say by their exit code that they want to go on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, barrier, get_world_size
from mmengine.hooks import Hook
from mmengine.registry import FUNCTIONS  # MMEngine's own: its Runner looks no scope up for functions
from torch.utils.data import get_worker_info

from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .checkpoint_hook import CheckpointHook

PREEMPTED = 75
"""Exit code of a run that was told to stop and has saved its state (``EX_TEMPFAIL``: try again later)."""

SIGNALS = tuple(getattr(signal, name) for name in ('SIGTERM', 'SIGUSR1', 'SIGHUP') if hasattr(signal, name))
"""What schedulers send ahead of the end, and what a terminal sends that closes; those that the platform has."""

_ONE_REQUEST = 2.0  # seconds: a scheduler signals every process of a job, and a launcher passes its own signal on


class _Stop:
    """Whether the process was told to stop, and whether there is a training that can do so in order."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.told_at: float | None = None
        self.training = False

    @property
    def requested(self) -> bool:
        return self.told_at is not None

    def __call__(self, number: int, frame) -> None:
        now = time.monotonic()
        if self.told_at is not None and now - self.told_at > _ONE_REQUEST:  # at once, as if none had been caught
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.told_at = self.told_at or now
        if not self.training:
            raise SystemExit(PREEMPTED)


_STOP = _Stop()


@contextmanager
def stopping_in_order() -> Iterator[None]:
    """Within it :data:`SIGNALS` end the process with :data:`PREEMPTED`; a training saves its state first.

    A second signal, two seconds later or more, ends it at once. A signal that the process was started to ignore (as
    ``nohup`` does with SIGHUP) it goes on to ignore.
    """
    _STOP.reset()
    heeded = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, _STOP) for number in heeded}
    try:
        yield
    finally:
        _STOP.reset()
        for number, handler in before.items():
            signal.signal(number, handler)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """Ends the training after the running iteration when the process was told to stop (:func:`stopping_in_order`).

    It saves a snapshot through the run's :class:`CheckpointHook` and exits with :data:`PREEMPTED`; ``--resume`` goes
    on from there. With several processes all stop after the same iteration: they tell each other every ``interval``
    iterations. While gradients are accumulated it waits for the update. During a validation one process stops at once
    if the epoch is saved already: the resume makes up for the validation.

    Args:
        interval: Iterations between two exchanges of several processes; one process needs none.
    """

    priority = 'LOWEST'  # after the regular checkpoint

    def __init__(self, interval: int = 10) -> None:
        if interval < 1:
            raise InputError(f'PreemptionHook: interval must be 1 or more, not {interval}.')
        self.interval = interval

    def before_train(self, runner) -> None:
        """From now on there is something to save."""
        self._checkpoints = next((hook for hook in runner.hooks if isinstance(hook, CheckpointHook)), None)
        self._saved_epoch = runner.epoch  # the start itself, or the checkpoint that the run goes on from
        _STOP.training = True

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Save and leave where the process was told to stop."""
        if not self._all_told(runner) or not runner.optim_wrapper.should_update():
            return
        if self._checkpoints is not None:
            self._checkpoints.save_snapshot(runner)
        barrier()  # a launcher that sees one process leave stops the others
        self._leave(runner, f'after iteration {runner.iter + 1} of epoch {runner.epoch + 1}')

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note the epoch at whose end a checkpoint is saved."""
        self._saved_epoch = checkpoint['meta']['epoch']

    def after_val_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Leave where nothing but the validation is lost."""
        if _STOP.requested and get_world_size() == 1 and self._saved_epoch == runner.epoch:
            self._leave(runner, f'in the validation of epoch {runner.epoch}')

    def after_train(self, runner) -> None:
        """Nothing is left to save."""
        _STOP.training = False

    def _all_told(self, runner) -> bool:
        if get_world_size() == 1:
            return _STOP.requested
        if not self.every_n_train_iters(runner, self.interval):
            return False
        told = torch.tensor(int(_STOP.requested), device=get_device())
        all_reduce(told, 'max')
        return bool(told)

    def _leave(self, runner, where: str) -> None:
        runner.logger.warning(f'told to stop: {where} the run ends with exit code {PREEMPTED}; go on with --resume')
        raise SystemExit(PREEMPTED)


@FUNCTIONS.register_module()
def obey_only_the_trainer(worker_id: int) -> None:
    """``worker_init_fn`` of loader workers: a signal to the whole job must not take the loader from its trainer.

    Schedulers signal every process of a job, but the trainer still needs its workers for the iteration that it
    finishes, and ends them itself. So a worker heeds no SIGTERM but its parent's (where the system tells who sent it).
    """
    if get_worker_info() is None or not hasattr(signal, 'sigwaitinfo'):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

    def listen() -> None:
        while signal.sigwaitinfo([signal.SIGTERM]).si_pid != os.getppid():
            pass
        os._exit(0)

    threading.Thread(target=listen, daemon=True).start()
