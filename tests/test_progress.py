"""Training progress as MMEngine's own Runner reports it: over epochs, validation, the end, and a resume."""

from __future__ import annotations

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.runner import Runner

from crld_zoo.progress import Progress, current_progress


@pytest.fixture
def hub():
    """The current message hub, left as it was found."""
    hub = MessageHub.get_current_instance()
    yield hub
    for name in ('loop_stage', 'epoch', 'iter'):
        hub.pop_info(name, None)


def test_none_outside_of_a_training():
    assert current_progress() is None


def test_epoch_is_counted_from_1_and_iteration_from_0(hub):
    hub.update_info_dict(dict(loop_stage='train', epoch=0, iter=0))
    assert current_progress() == Progress(epoch=1, iteration=0)
    hub.update_info_dict(dict(epoch=6, iter=123))
    assert current_progress() == (7, 123)


@pytest.mark.parametrize('stage', ['val', 'test', None])
def test_none_where_the_stage_is_not_training(hub, stage):
    hub.update_info_dict(dict(loop_stage=stage, epoch=3, iter=40))
    assert current_progress() is None


class Recorder(BaseModel):
    """Notes the progress in every forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.train_seen, self.val_seen = [], []

    def forward(self, inputs, data_samples=None, mode='tensor'):
        (self.train_seen if mode == 'loss' else self.val_seen).append(current_progress())
        return dict(loss=self.layer(inputs).mean()) if mode == 'loss' else [{}]


class Nothing(BaseMetric):
    def process(self, data_batch, data_samples):
        self.results.append(0)

    def compute_metrics(self, results):
        return dict(seen=len(results))


def run(work_dir, max_epochs: int, resume: bool) -> Recorder:
    model = Recorder()
    loader = dict(
        batch_size=2,
        dataset=[dict(inputs=torch.ones(2))] * 6,
        sampler=dict(type='DefaultSampler'),
        collate_fn=dict(type='default_collate'),
    )
    Runner(
        model=model,
        work_dir=str(work_dir),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=[Nothing()],
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs, val_interval=1),
        val_cfg=dict(),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
        resume=resume,
        log_level='ERROR',
        experiment_name=f'progress-{max_epochs}',
    ).train()
    return model


def test_through_a_run_its_validations_and_a_resume(tmp_path):
    first = run(tmp_path, max_epochs=2, resume=False)
    assert first.train_seen == [(1, 0), (1, 1), (1, 2), (2, 3), (2, 4), (2, 5)]
    assert first.val_seen == [None] * 6
    assert current_progress() is None
    resumed = run(tmp_path, max_epochs=3, resume=True)
    assert resumed.train_seen == [(3, 6), (3, 7), (3, 8)]
    assert current_progress() is None
