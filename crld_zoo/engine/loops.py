"""The training loop: what can be resumed at any iteration as if it had never stopped."""

from __future__ import annotations

import mmengine.runner
from mmengine.dist import broadcast, broadcast_object_list, get_rank

from crld_zoo.errors import InputError
from crld_zoo.registry import LOOPS

from .distiller import shared_buffers
from .divergence import CheckedOptimWrapper
from .randomness import Stream, seed_generators, seeded_loader
from .unwrapped import unwrapped


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
        data_seed: Seed of the order of the data and of their views; None takes the run's, which decides all else. It is
            saved, and a resume keeps it.
        views_period: Passes after which each image's views come again, the order of the images does not; None: never.
            It bounds the size of a teacher's cache, and trains on fewer different views than a recipe without it.
        **options: MMEngine's: ``max_epochs``, ``val_begin``, ``val_interval``, ``dynamic_intervals``.
    """

    def __init__(
        self, runner, dataloader: dict, data_seed: int | None = None, views_period: int | None = None, **options
    ) -> None:
        self._data_seed, self.views_period = data_seed, views_period
        super().__init__(runner, _seeded(runner, dataloader, data_seed, views_period), **options)
        runner.message_hub.update_info_dict(dict(batches_done=0, last_validated=0))

    def run(self):
        """Train from where the runner stands to the end."""
        self.runner.call_hook('before_train')
        self._data_seed = _settle_data_seed(self.runner, self._data_seed)
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
        before = hub.runtime_info.get('batches_per_epoch', len(self.dataloader))
        if before != len(self.dataloader):
            runner.logger.warning(
                f'an epoch had {before} batches when the checkpoint was made and has {len(self.dataloader)} now: '
                'schedules and counts by iteration go on from another place'
            )
        hub.update_info('batches_per_epoch', len(self.dataloader))
        rank = get_rank()
        seed_generators(Stream.EPOCH, runner.seed, rank, epoch)
        runner.call_hook('before_train_epoch')
        runner.model.train()
        self.dataloader.batch_sampler.place(self._data_seed, epoch, first=done)
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
    """MMEngine's iteration-based loop, which also says the epoch that an iteration belongs to: schedules count epochs.

    It resumes as MMEngine does, by loading what was trained on already; only the epoch-based loop resumes exactly. The
    data and their views are the same in both ways of counting.

    Args:
        runner: The runner.
        dataloader: Config of the training loader.
        data_seed: As in :class:`EpochBasedTrainLoop`.
        views_period: As in :class:`EpochBasedTrainLoop`.
        **options: MMEngine's: ``max_iters``, ``val_begin``, ``val_interval``, ``dynamic_intervals``.
    """

    def __init__(
        self, runner, dataloader: dict, data_seed: int | None = None, views_period: int | None = None, **options
    ) -> None:
        self._data_seed, self.views_period = data_seed, views_period
        super().__init__(runner, _seeded(runner, dataloader, data_seed, views_period), **options)

    def run(self):
        """Train from where the runner stands to the end."""
        self._data_seed = _settle_data_seed(self.runner, self._data_seed)
        self.dataloader.batch_sampler.place(self._data_seed, epoch=0, endless=True)
        self.dataloader_iterator = iter(self.dataloader)
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


def _seeded(runner, dataloader: dict, data_seed: int | None, views_period: int | None) -> dict:
    if not isinstance(dataloader, dict):
        raise InputError('train_dataloader must be a config: a loader that is built already cannot be resumed exactly.')
    if data_seed is not None and (type(data_seed) is not int or not 0 <= data_seed < 2**32):
        raise InputError(
            f'train_cfg.data_seed must be a whole number from 0 to {2**32 - 1} or None, not {data_seed!r}.'
        )
    if views_period is not None:
        if type(views_period) is not int or views_period < 1:
            raise InputError(
                f'train_cfg.views_period must be a number of passes from 1 on or None, not {views_period!r}.'
            )
        runner.logger.info(f'the views of an image come again after {views_period} passes over the data')
    runner.message_hub.update_info('data_seed', data_seed)
    model = unwrapped(runner.model)
    return seeded_loader(
        dataloader,
        attach=getattr(model.data_preprocessor, 'takes_keys', False),
        waits=True,
        period=views_period,
    )


def _settle_data_seed(runner, wanted: int | None) -> int:
    """The seed of the data, now that a resume has brought back what the run began with; the main process's for all."""
    hub = runner.message_hub
    saved = hub.get_info('data_seed')
    seeds = [runner.seed if saved is None else saved]
    if wanted not in (None, seeds[0]):
        raise InputError(
            f'the run to resume has the data seed {seeds[0]}, not {wanted}: leave train_cfg.data_seed out, or start a '
            'run of its own.'
        )
    broadcast_object_list(seeds)
    hub.update_info('data_seed', seeds[0])
    return seeds[0]
