"""Iteration-based training knows the epoch, so that schedules that count epochs go on."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmengine.runner import Runner

from crld_zoo.distillers import Distiller
from crld_zoo.launch import prepare
from crld_zoo.progress import current_progress
from crld_zoo.registry import DISTILLERS


@DISTILLERS.register_module(force=True)
class _Progress(Distiller):
    """Notes how far the training is."""

    needs_teacher = False
    seen: list = []

    def forward(self, student, teacher, target):
        self.seen.append(tuple(current_progress()))
        return dict(loss_ce=self.label_loss(student, target))


def runner(tmp_path, **train_cfg) -> Runner:
    cfg = Config(
        dict(
            default_scope='crld_zoo',
            work_dir=str(tmp_path),
            experiment_name=tmp_path.name,
            model=dict(
                type='Distillation',
                student=dict(model='crld_zoo::resnet8', num_classes=2),
                distiller=dict(type='_Progress'),
                data_preprocessor=dict(type='ViewPreprocessor', mean=[0.0, 0.0, 0.0], std=[1.0, 1.0, 1.0]),
            ),
            train_dataloader=dict(
                batch_size=4,
                num_workers=0,
                collate_fn=dict(type='as_batch'),
                sampler=dict(type='DefaultSampler', shuffle=True),
                dataset=dict(type='SyntheticImages', num_images=12, num_classes=2, size=8),
            ),
            train_cfg=train_cfg,
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
            default_hooks=dict(checkpoint=dict(type='CheckpointHook', by_epoch=False, interval=10)),
        )
    )
    prepare(cfg)
    return Runner.from_cfg(cfg)


def test_the_epoch_follows_the_iteration(tmp_path):
    _Progress.seen.clear()
    runner(tmp_path, by_epoch=False, max_iters=5).train()
    assert _Progress.seen == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4)]
    assert current_progress() is None


@pytest.mark.parametrize('length', [dict(by_epoch=True, max_epochs=2), dict(by_epoch=False, max_iters=5)])
def test_a_training_that_failed_is_over(tmp_path, monkeypatch, length):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(_Progress, 'forward', fail)
    with pytest.raises(ZeroDivisionError):
        runner(tmp_path, **length).train()
    assert current_progress() is None
