"""How fast a training runs, in its ordinary log."""

from __future__ import annotations

import os
import time

from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import HOOKS

from .runtime_info import log_interval


@HOOKS.register_module()
class ThroughputHook(Hook):
    """Logs ``images_per_second`` and ``data_share``, and warns once where the loader holds the training up.

    ``images_per_second`` counts the images of all processes; several views of an image count once. ``data_share`` is
    the share of the time, 0 to 1, in which the loop waited for the loader: reading, decoding, the transforms of a
    pipeline, collating, and the start of the workers at an epoch. Views that the data preprocessor makes of a batch are
    not in it: they are made on the device, within the step. Validation and the time between epochs do not count.

    Both are means over the iterations since they were logged last, as often as the ``LoggerHook`` logs. Nothing waits
    for the device: on a GPU the clock is read while it still computes, which evens out over an interval. The log of a
    run on a GPU has ``memory`` (MiB) from MMEngine itself.

    Args:
        warn_above: The ``data_share`` from which an interval is worth a warning, above 0 and up to 1. The first
            interval of a run is let pass.

    Raises:
        InputError: An option is out of range.
    """

    priority = 'LOWEST'  # what other hooks do after an iteration belongs to it, not to the loader

    def __init__(self, warn_above: float = 0.2) -> None:
        if not 0 < warn_above <= 1:
            raise InputError(f'ThroughputHook: warn_above is a share above 0 and up to 1, not {warn_above}.')
        self.warn_above = warn_above

    def before_train(self, runner: Runner) -> None:
        """Begin to count."""
        self._interval = log_interval(runner)
        self._intervals, self._warned = 0, False
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
        share = self._waiting / self._seconds
        figures = dict(images_per_second=get_world_size() * self._images / self._seconds, data_share=share)
        for name, value in figures.items():
            runner.message_hub.update_scalar(f'train/{name}', value, resumed=False)
        if self._iterations + 1 < self._interval:  # short epochs: go on until there is enough to judge
            return
        if share > self.warn_above and self._intervals and not self._warned:
            runner.logger.warning(f'{share:.0%} of the training time is waiting for data: {_remedy(runner)}')
            self._warned = True
        self._intervals += 1
        self._reset()


def _remedy(runner: Runner) -> str:
    """Which setting to change."""
    loader = runner.train_dataloader
    images = getattr(loader.dataset, 'images', None)
    if isinstance(images, Tensor):
        if loader.num_workers:
            return (
                'the images are in memory, where workers only cost: set train_dataloader.num_workers=0 and '
                'persistent_workers=False.'
            )
        if images.device.type == 'cpu' and next(runner.model.parameters()).is_cuda:
            return "keep the images on the GPU: set train_dataloader.dataset.device='cuda'."
        return 'the network is done before the next batch is indexed: a larger train_dataloader.batch_size helps.'
    cores = os.cpu_count() or 1
    if loader.num_workers < cores:
        return (
            f'raise train_dataloader.num_workers (it is {loader.num_workers}, the machine has {cores} cores), or '
            'take an in-memory data set where the images fit.'
        )
    if not loader.persistent_workers:
        return 'set train_dataloader.persistent_workers=True, or take an in-memory data set where the images fit.'
    return 'take an in-memory data set where the images fit, or store them smaller: every core loads already.'
