"""How fast a training runs, in its ordinary log."""

from __future__ import annotations

import time

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner

from crld_zoo.registry import HOOKS

from .runtime_info import log_interval


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs ``images_per_second`` and ``data_share``.

    ``images_per_second`` counts the images of all processes; several views of an image count once. ``data_share`` is
    the share of the time, 0 to 1, in which the loop waited for the loader: reading, decoding, the transforms of a
    pipeline, collating, and the start of the workers at an epoch. Views that the data preprocessor makes of a batch are
    not in it: they are made on the device, within the step. Validation and the time between epochs do not count.

    Both are means over the iterations since they were logged last, as often as the ``LoggerHook`` logs. Nothing waits
    for the device: on a GPU the clock is read while it still computes, which evens out over an interval. The log of a
    run on a GPU has ``memory`` (MiB) from MMEngine itself.
    """

    priority = 'LOWEST'  # what other hooks do after an iteration belongs to it, not to the loader

    def before_train(self, runner: Runner) -> None:
        """Begin to count."""
        self._interval = log_interval(runner)
        self._reset()

    def before_train_epoch(self, runner: Runner) -> None:
        """The wait for the first batch begins."""
        self._end = time.perf_counter()

    def after_val(self, runner: Runner) -> None:
        """The wait begins again: an iteration-based loop validates within an epoch."""
        self._end = time.perf_counter()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """The batch has come; give the figures out if this iteration is going to be logged."""
        waited = time.perf_counter() - self._end
        if self._iterations and (
            self.every_n_inner_iters(batch_idx, self._interval) or self.end_of_epoch(runner.train_dataloader, batch_idx)
        ):
            self._report(runner)
        self._waiting += waited

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """The wait for the next batch begins."""
        now = time.perf_counter()
        self._iterations += 1
        self._images += len(data_batch['data_samples'])
        self._seconds += now - self._end
        self._end = now

    def _reset(self) -> None:
        self._iterations, self._images, self._seconds, self._waiting = 0, 0, 0.0, 0.0

    def _report(self, runner: Runner) -> None:
        figures = dict(
            images_per_second=get_world_size() * self._images / self._seconds,
            data_share=self._waiting / self._seconds,
        )
        for name, value in figures.items():
            runner.message_hub.update_scalar(f'train/{name}', value, resumed=False)
        self._reset()
