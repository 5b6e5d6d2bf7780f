"""Losses are read when they are looked at, and the history is that of every step."""

from __future__ import annotations

import uuid

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from crld_zoo.benchmark import Options
from crld_zoo.benchmark.setup import measured_config
from crld_zoo.engine.runtime_info import RuntimeInfoHook


class Reads(Hook):
    """Counts how often a loss is read in each iteration, and keeps what the log would show."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.lengths, self.shown = [], []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        scalars = runner.message_hub.log_scalars
        self.lengths.append(len(scalars['train/loss'].data[0]) if 'train/loss' in scalars else 0)
        if (batch_idx + 1) % 2 == 0:
            self.shown.append((scalars['train/loss'].current(), outputs['loss'].item()))


def train(recipe, work_dir, hook: str, checkpoint=None) -> tuple[Runner, Reads]:
    cfg = measured_config(Options(recipe, random_weights=True), work_dir)
    cfg.experiment_name = uuid.uuid4().hex
    cfg.train_cfg.max_epochs = 2
    cfg.randomness = dict(seed=1)
    cfg.default_hooks.runtime_info = dict(type=hook)
    cfg.default_hooks.logger = dict(type='LoggerHook', interval=2)
    cfg.default_hooks.checkpoint = checkpoint
    runner = Runner.from_cfg(cfg)
    reads = Reads()
    runner.register_hook(reads)
    runner.train()
    return runner, reads


def test_the_history_is_that_of_mmengine(recipe, tmp_path):
    ours, reads = train(recipe, tmp_path / 'a', 'RuntimeInfoHook')
    theirs, every_step = train(recipe, tmp_path / 'b', 'mmengine.RuntimeInfoHook')
    names = [name for name in theirs.message_hub.log_scalars if name.startswith('train/') and 'time' not in name]
    assert {'train/loss', 'train/loss_ce', 'train/keep_weak', 'train/lr'} <= set(names)
    for name in names:
        for own, other in zip(
            ours.message_hub.log_scalars[name].data, theirs.message_hub.log_scalars[name].data, strict=True
        ):
            np.testing.assert_array_equal(own, other, err_msg=name)
    assert every_step.lengths == list(range(1, 13))
    assert reads.lengths == [0, 2, 2, 4, 4, 6, 6, 8, 8, 10, 10, 12]
    assert all(shown == loss for shown, loss in reads.shown), 'what is logged is of the step that is logged'


def test_it_takes_the_place_of_mmengines_by_its_name(recipe, tmp_path):
    runner, reads = train(recipe, tmp_path, 'RuntimeInfoHook')
    assert any(type(hook) is RuntimeInfoHook for hook in runner.hooks)
    assert reads.lengths[0] == 0


def test_a_checkpoint_in_between_holds_every_step(recipe, tmp_path):
    train(
        recipe,
        tmp_path,
        'RuntimeInfoHook',
        checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=3, max_keep_ckpts=-1),
    )
    for iteration in (3, 6, 9):
        saved = torch.load(tmp_path / f'iter_{iteration}.pth', weights_only=True)['message_hub']
        assert len(saved['log_scalars']['train/loss'].data[0]) == iteration


@pytest.mark.parametrize('kind', ['tensor', 'float'])
def test_any_kind_of_number(recipe, tmp_path, kind):
    class Extra(Hook):
        priority = 'VERY_HIGH'

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
            outputs['extra'] = torch.tensor([3]) if kind == 'tensor' else 3.0

    cfg = measured_config(Options(recipe, random_weights=True), tmp_path)
    cfg.experiment_name = uuid.uuid4().hex
    cfg.train_cfg.max_epochs = 1
    cfg.default_hooks.runtime_info = dict(type='RuntimeInfoHook', priority='HIGH')
    runner = Runner.from_cfg(cfg)
    runner.register_hook(Extra())
    runner.train()
    assert runner.message_hub.get_scalar('train/extra').data[0].tolist() == [3.0] * 6
