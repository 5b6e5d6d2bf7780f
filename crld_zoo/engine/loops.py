"""The training loop: what can be resumed at any iteration as if it had never stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import mmengine.runner
from mmengine.dist import broadcast, get_rank

from crld_zoo.errors import InputError
from crld_zoo.registry import LOOPS

from .distiller import shared_buffers
from .divergence import CheckedOptimWrapper
from .randomness import Stream, seed_generators, seeded_loader


@LOOPS.register_module()
class EpochBasedTrainLoop(mmengine.runner.EpochBasedTrainLoop):
    """MMEngine's epoch-based loop with exact resume.

    Two pieces of progress go into every checkpoint beside MMEngine's epoch and iteration: how many batches of the
    running epoch are done, and which epoch was validated last. So a resume goes on with the next batch (the ones
    before are skipped by the sampler, none is loaded) and makes up for a validation that was cut off. Randomness is
    what :mod:`~crld_zoo.engine.randomness` says.

    Args:
        runner: The runner.
        dataloader: Config of the training loader.
        data_seed: Seed of the data (their order, crops and views), apart from the run's, which then decides the first
            weights and what is drawn in the networks alone. The run's, if None; a resumed run keeps its own.
        **options: MMEngine's: ``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals``.
    """

    def __init__(self, runner, dataloader: dict, data_seed: int | None = None, **options) -> None:
        if not isinstance(dataloader, dict):
            raise InputError(
                'train_dataloader must be a config: a loader that is built already cannot be resumed exactly.'
            )
        super().__init__(runner, seeded_loader(dataloader), **options)
        runner.message_hub.update_info_dict(dict(batches_done=0, last_validated=0, data_seed=data_seed))

    def run(self):
        """Train from where the runner stands to the end."""
        with _leaving_nothing(self.runner):
            self.runner.call_hook('before_train')
            follow_seed(self)
            self._validate_if_due()
            while self._epoch < self._max_epochs and not self.stop_training:
                self.run_epoch()
                self._validate_if_due()
            self.runner.call_hook('after_train')
        return self.runner.model

    def run_epoch(self) -> None:
        """Train on what is left of the epoch."""
        runner, hub, epoch = self.runner, self.runner.message_hub, self._epoch
        done = hub.get_info('batches_done')
        if done > len(self.dataloader) or (done and hub.get_info('batches_per_epoch') != len(self.dataloader)):
            raise InputError(
                f'the checkpoint stands in the middle of an epoch of {hub.get_info("batches_per_epoch")} '
                f'batches, but now an epoch has {len(self.dataloader)}: resume with the data, batch size '
                'and number of processes it was made with, or from the end of an epoch.'
            )
        hub.update_info('batches_per_epoch', len(self.dataloader))
        rank = get_rank()
        seed_generators(Stream.EPOCH, runner.seed, rank, epoch)
        runner.call_hook('before_train_epoch')
        runner.model.train()
        self.dataloader.batch_sampler.place(data_seed(runner), epoch, first=done)
        for index, batch in enumerate(self.dataloader, start=done):
            seed_generators(Stream.ITERATION, runner.seed, rank, epoch, index)
            hub.update_info('batches_done', index + 1)
            self.run_iter(index, batch)
        hub.update_info('batches_done', 0)
        runner.call_hook('after_train_epoch')
        self._epoch += 1

    def run_iter(self, idx: int, data_batch) -> None:
        """One training step, unless :class:`DivergenceHook` refuses it."""
        _step(self.runner, idx, data_batch)
        self._iter += 1

    def _validate_if_due(self) -> None:
        runner, epoch = self.runner, self._epoch
        self._decide_current_val_interval()
        if (
            runner.val_loop is None
            or epoch < self.val_begin
            or epoch <= runner.message_hub.get_info('last_validated')
            or (epoch % self.val_interval and epoch != self._max_epochs)
        ):
            return
        # Only the hooks that follow a complete validation save a checkpoint before the next iteration.
        runner.message_hub.update_info('last_validated', epoch)
        seed_generators(Stream.VALIDATION, runner.seed, get_rank(), epoch)
        for buffer in shared_buffers(runner.model):  # validate what the main process saves
            broadcast(buffer)
        runner.val_loop.run()


@LOOPS.register_module()
class IterBasedTrainLoop(mmengine.runner.IterBasedTrainLoop):
    """MMEngine's iteration-based loop over batches that carry their samples' keys.

    It resumes as MMEngine does, by loading what was trained on already; only the epoch-based loop resumes exactly.

    Args:
        runner: The runner.
        dataloader: Config of the training loader.
        data_seed: As in :class:`EpochBasedTrainLoop`.
        **options: MMEngine's.
    """

    def __init__(self, runner, dataloader: dict, data_seed: int | None = None, **options) -> None:
        if isinstance(dataloader, dict):
            dataloader = seeded_loader(dataloader)
        super().__init__(runner, dataloader, **options)
        runner.message_hub.update_info('data_seed', data_seed)

    def run(self):
        """Train from where the runner stands to the end."""
        with _leaving_nothing(self.runner):
            follow_seed(self)
            return super().run()

    def run_iter(self, data_batch) -> None:
        """One training step, unless :class:`DivergenceHook` refuses it."""
        self.runner.message_hub.update_info('epoch', self._iter // len(self.dataloader))
        _step(self.runner, self._iter, data_batch)
        self._iter += 1


def _step(runner, index: int, batch) -> None:
    """MMEngine's iteration, whose step may be refused; hooks are given no outputs of one that was."""
    runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
    wrapper = CheckedOptimWrapper(runner)
    outputs = runner.model.train_step(batch, optim_wrapper=wrapper)
    outputs = None if wrapper.skipped else outputs
    runner.call_hook('after_train_iter', batch_idx=index, data_batch=batch, outputs=outputs)


def data_seed(runner) -> int:
    """The seed of a run's data."""
    seed = runner.message_hub.get_info('data_seed')
    return runner.seed if seed is None else seed


def follow_seed(loop) -> None:
    """Give the sampler the seed of the data, which a resume may have replaced after the sampler was built."""
    runner, batches = loop.runner, loop.dataloader.batch_sampler
    batches.place(data_seed(runner), epoch=0, first=0)
    if hasattr(batches.sampler, 'seed') and not runner._randomness_cfg.get('diff_rank_seed', False):
        batches.sampler.seed = data_seed(runner)


@contextmanager
def _leaving_nothing(runner) -> Iterator[None]:
    """A training that ends by an error is over as well: what runs later in the process is at none of its epochs."""
    try:
        yield
    finally:
        runner.message_hub.pop_info('loop_stage', None)
