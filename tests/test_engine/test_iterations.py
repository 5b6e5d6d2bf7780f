"""Iteration-based training knows the epoch, so that schedules that count epochs go on."""

from __future__ import annotations

from mmengine.config import Config
from mmengine.runner import Runner

from crld_zoo.distillers import Distiller
from crld_zoo.launch import prepare
from crld_zoo.registry import DISTILLERS


@DISTILLERS.register_module(force=True)
class _Progress(Distiller):
    """Notes how far the training is."""

    needs_teacher = False
    seen: list = []

    def begin(self, progress):
        self.seen.append(tuple(progress))

    def forward(self, student, teacher, target):
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
    assert _Progress.seen == [(1, 0, 2, 5), (1, 1, 2, 5), (1, 2, 2, 5), (2, 3, 2, 5), (2, 4, 2, 5)]


def test_each_pass_has_samples_and_keys_of_its_own(tmp_path):
    """Also where iterations count: every sample once a pass, under the number of the pass."""
    run, seen = runner(tmp_path, by_epoch=False, max_iters=6, data_seed=5), []
    model = run.model
    forward = model.forward
    model.forward = lambda *args, keys, **kwargs: seen.append(keys) or forward(*args, keys=keys, **kwargs)
    run.train()
    for number in (0, 1):
        keys = seen[3 * number : 3 * number + 3]
        assert sorted(sample for key in keys for sample in key.samples.tolist()) == list(range(12))
        assert {key.epoch for key in keys} == {number}
        assert {key.seed for key in keys} == {5}
