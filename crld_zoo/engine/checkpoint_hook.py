"""Checkpoints that cannot be torn."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import mmengine.hooks
from mmengine.dist import is_main_process

from crld_zoo.errors import InputError
from crld_zoo.files import remove_unfinished, write_atomically
from crld_zoo.registry import HOOKS

from .checkpoints import RUN_FILE
from .publish import publish
from .schedule import match_schedule, optimizer_kind

_SNAPSHOT = 'snapshot.pth'


@HOOKS.register_module()
class CheckpointHook(mmengine.hooks.CheckpointHook):
    """MMEngine's hook, with nothing removed before its successor is safe.

    Every file appears complete or not at all (:mod:`crld_zoo.files`), ``last_checkpoint`` changes after the
    checkpoint it names is complete, and outdated or surpassed checkpoints go after that.

    Beside the regular checkpoints there may be one ``snapshot.pth``: the state in the middle of an epoch, saved every
    ``snapshot_interval`` iterations or when the run is told to stop. It goes when the next regular one is safe.

    A finished run hands on ``student.pth`` and ``best_student.pth``, which need nothing of the zoo, and ``student.py``.

    Args:
        snapshot_interval: Iterations of an epoch between two snapshots; 0 makes none.
        resume_schedule: What a resume does where the config has another learning rate, weight decay, schedule, … than
            the checkpoint: ``'saved'`` refuses to go on, ``'rebuild'`` goes on as a run that had the new ones from its
            beginning would.
        **options: MMEngine's: ``interval``, ``by_epoch``, ``max_keep_ckpts``, ``save_best``, ``save_last``, …
    """

    best_ckpt_path: str | None  # MMEngine's, like the next
    best_ckpt_path_dict: dict

    def __init__(self, *, snapshot_interval: int = 0, resume_schedule: str = 'saved', **options) -> None:
        super().__init__(**options)
        if self.args:
            raise InputError(f'CheckpointHook has no option {", ".join(self.args)}.')
        if self.file_client_args is not None:
            raise InputError('CheckpointHook: file_client_args is outdated: use backend_args.')
        if Path(self.filename_tmpl).name != self.filename_tmpl:
            raise InputError(f'CheckpointHook: filename_tmpl is the name of a file, not a path: {self.filename_tmpl}')
        if snapshot_interval < 0:
            raise InputError(f'CheckpointHook: snapshot_interval must be 0 or more, not {snapshot_interval}.')
        if resume_schedule not in ('saved', 'rebuild'):
            raise InputError(f"CheckpointHook: resume_schedule is 'saved' or 'rebuild', not {resume_schedule!r}.")
        self.snapshot_interval = snapshot_interval
        self._best_by = (options.get('save_best'), options.get('rule'))
        self.resume_schedule = resume_schedule

    def before_run(self, runner) -> None:
        """Begin a run of its own; a resume puts the former's name in its place."""
        runner.message_hub.update_info('run', uuid.uuid4().hex)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Let a resume ignore nothing that the config says."""
        if (
            runner._resume
            and 'ema_state_dict' in checkpoint
            and not any(isinstance(hook, mmengine.hooks.EMAHook) for hook in runner.hooks)
        ):
            raise InputError(
                'the checkpoint holds averaged weights, and the config has no EMAHook any more, without which the run '
                'would go on from the average: keep the hook, or start a new run from the average (load_from).'
            )
        if runner._resume:
            match_schedule(runner, checkpoint, rebuild=self.resume_schedule == 'rebuild')

    def before_train(self, runner) -> None:
        """Clean up after a kill, and note which run this folder belongs to."""
        self._forget_other_best(runner)
        super().before_train(runner)
        if is_main_process():
            remove_unfinished(self.out_dir)
            remove_unfinished(runner.work_dir)
            write_atomically(runner.message_hub.get_info('run').encode(), Path(runner.work_dir, RUN_FILE))

    def _forget_other_best(self, runner) -> None:
        """A score of another metric is no measure for what is the best from now on."""
        info, best_by = runner.message_hub.runtime_info, repr(self._best_by)
        if info.get('best_by', best_by) != best_by:
            runner.logger.warning(
                f'the best checkpoint was chosen by another metric so far; from now on by {self.save_best}'
            )
            for name in [name for name in info if name.startswith(('best_score', 'best_ckpt'))]:
                del info[name]
        runner.message_hub.update_info('best_by', best_by)

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        """Note the time, by which :func:`~crld_zoo.engine.checkpoints.find_resume_checkpoint` tells the newest, and of
        which optimizer the state is."""
        checkpoint['meta']['saved_at'] = time.time()
        if 'optimizer' in checkpoint:
            checkpoint['meta']['optimizer'] = optimizer_kind(runner)

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Save a regular checkpoint or a snapshot where one is due."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.every_n_inner_iters(batch_idx, self.snapshot_interval) and runner.optim_wrapper.should_update():
            self.save_snapshot(runner)

    def after_train(self, runner) -> None:
        """Hand on the students of the last and of the best checkpoint (:mod:`~crld_zoo.engine.publish`)."""
        super().after_train(runner)
        best = [getattr(self, 'best_ckpt_path', None), *getattr(self, 'best_ckpt_path_dict', {}).values()]
        if is_main_process():
            publish(runner, self.last_ckpt, next(filter(None, best), None))

    def save_snapshot(self, runner) -> None:
        """Save the state after the running iteration as ``snapshot.pth``."""
        self._save(runner, _SNAPSHOT, dict(epoch=runner.epoch, iter=runner.iter + 1))

    def _save_checkpoint_with_step(self, runner, step: int, meta: dict) -> None:
        outdated = [_SNAPSHOT]
        if self.max_keep_ckpts > 0 and step not in self.keep_ckpt_ids:
            if len(self.keep_ckpt_ids) == self.max_keep_ckpts:
                outdated.append(self.filename_tmpl.format(self.keep_ckpt_ids.popleft()))
            self.keep_ckpt_ids.append(step)
            runner.message_hub.update_info('keep_ckpt_ids', list(self.keep_ckpt_ids))
        self._save(runner, self.filename_tmpl.format(step), meta)
        for name in outdated:
            self._remove(self.file_backend.join_path(self.out_dir, name))

    def _save_best_checkpoint(self, runner, metrics: dict) -> None:
        if not self.save_best:
            return
        # MMEngine removes the surpassed file before it writes the better one, unless it does not know of it.
        single = len(self.key_indicators) == 1
        before = {None: self.best_ckpt_path} if single else dict(self.best_ckpt_path_dict)
        if single:
            self.best_ckpt_path = None
        else:
            self.best_ckpt_path_dict = dict.fromkeys(before)
        super()._save_best_checkpoint(runner, metrics)
        for key, path in before.items():
            better = self.best_ckpt_path if single else self.best_ckpt_path_dict[key]
            if better is None and single:
                self.best_ckpt_path = path
            elif better is None:
                self.best_ckpt_path_dict[key] = path
            elif path and path != better:
                self._remove(path)

    def _save(self, runner, name: str, meta: dict) -> None:
        self.last_ckpt = self.file_backend.join_path(self.out_dir, name)
        runner.message_hub.update_info('last_ckpt', self.last_ckpt)
        runner.save_checkpoint(
            self.out_dir,
            name,
            save_optimizer=self.save_optimizer,
            save_param_scheduler=self.save_param_scheduler,
            meta=meta,
            by_epoch=self.by_epoch,
            backend_args=self.backend_args,
        )
        if is_main_process():
            write_atomically(self.last_ckpt.encode(), Path(runner.work_dir, 'last_checkpoint'))

    def _remove(self, path: str) -> None:
        if is_main_process() and self.file_backend.isfile(path):
            self.file_backend.remove(path)
