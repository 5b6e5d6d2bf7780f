"""A resume ignores nothing that the config says of the optimizer and its schedules."""

from __future__ import annotations

import pytest
import torch
from mmengine.hooks import Hook

from crld_zoo.errors import InputError

from . import tiny_run

REBUILD = {'default_hooks.checkpoint.resume_schedule': 'rebuild'}
STEPS = [dict(type='MultiStepLR', milestones=[2])]
SGD = dict(type='SGD', lr=0.1, momentum=0.9)


@pytest.fixture(scope='module')
def started(tmp_path_factory):
    """The checkpoint of a run of two epochs, and one in the middle of the third."""
    folder = tmp_path_factory.mktemp('started')
    tiny_run.train(
        folder, 15, **{'param_scheduler': STEPS, 'default_hooks.checkpoint.snapshot_interval': 1, 'optim_wrapper': {}}
    )
    return folder


def go_on(work_dir, start, **changes):
    changes = {'param_scheduler': STEPS, **changes}
    return tiny_run.train(work_dir, resume=True, load_from=str(start), **changes)


@pytest.mark.parametrize(
    ('changes', 'told'),
    [
        ({'param_scheduler': [dict(type='MultiStepLR', milestones=[2, 4, 5])]}, r'milestones: \[2\] in .* \[2, 4, 5\]'),
        ({'train_cfg.max_epochs': 6}, 'end: 4 in the checkpoint, 6 now'),
        ({'param_scheduler': [dict(type='CosineAnnealingLR', T_max=4)]}, 'the kind of a schedule'),
        ({'param_scheduler': []}, 'schedules: 1 in the checkpoint, 0 now'),
        ({'param_scheduler': [*STEPS, dict(type='LinearLR', end=2)]}, 'schedules: 1 in the checkpoint, 2 now'),
        ({'param_scheduler': [dict(type='MultiStepLR', milestones=[2], gamma=0.5)]}, 'gamma: 0.1 in .* 0.5 now'),
        ({'optim_wrapper.optimizer.lr': 0.2}, 'lr: 0.1 in the checkpoint, 0.2 now'),
        ({'optim_wrapper.optimizer.weight_decay': 1e-4}, 'weight_decay: 0 in the checkpoint, 0.0001 now'),
        ({'optim_wrapper.optimizer.momentum': 0.8}, 'momentum: 0.9 in the checkpoint, 0.8 now'),
        ({'optim_wrapper.optimizer.nesterov': True}, 'nesterov: False in the checkpoint, True now'),
        ({'optim_wrapper.paramwise_cfg': dict(bias_lr_mult=2.0)}, 'parameter groups: 1 in the checkpoint'),
    ],
)
def test_what_changed_is_named(started, tmp_path, changes, told):
    with pytest.raises(InputError, match=f'a resume ignores what changed .*{told}.*resume_schedule=rebuild'):
        go_on(tmp_path, started / 'epoch_2.pth', **changes)


@pytest.mark.parametrize('changes', [{}, REBUILD])
@pytest.mark.parametrize('kind', ['Adam', 'RMSprop', 'Adagrad'])
def test_the_state_of_an_optimizer_is_none_of_another(started, tmp_path, kind, changes):
    with pytest.raises(InputError, match=f'holds the state of SGD, which is none of {kind}'):
        go_on(
            tmp_path,
            started / 'epoch_2.pth',
            **{'optim_wrapper.optimizer': dict(type=kind, lr=0.1, _delete_=True)},
            **changes,
        )


def test_an_average_that_is_no_longer_kept_is_no_start(tmp_path):
    tiny_run.train(tmp_path, 7)
    with pytest.raises(InputError, match='holds averaged weights, and the config has no EMAHook any more'):
        tiny_run.resume(tmp_path, custom_hooks=[])


def test_several_changes_are_named_in_one_error(started, tmp_path):
    with pytest.raises(InputError, match='lr: 0.1 .*weight_decay: 0 '):
        go_on(
            tmp_path,
            started / 'epoch_2.pth',
            **{'optim_wrapper.optimizer.lr': 0.2, 'optim_wrapper.optimizer.weight_decay': 0.1},
        )


@pytest.mark.parametrize(
    'changes', [{}, {'train_dataloader.batch_size': 2}, {'train_cfg.val_interval': 3}, {'default_hooks.logger': None}]
)
def test_what_a_checkpoint_overrides_not_may_change(started, tmp_path, changes):
    assert go_on(tmp_path, started / 'epoch_2.pth', **changes).epoch == 4


class Rates(Hook):
    """The learning rates and momenta of the steps, by iteration."""

    def __init__(self) -> None:
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        group = runner.optim_wrapper.param_groups[0]
        self.seen[runner.iter] = (group['lr'], group['momentum'], group['weight_decay'])


@pytest.mark.parametrize('start', ['epoch_2.pth', 'snapshot.pth'])
@pytest.mark.parametrize(
    'changes',
    [
        {'train_cfg.max_epochs': 6, 'param_scheduler': [dict(type='MultiStepLR', milestones=[2, 4, 5])]},
        {'train_cfg.max_epochs': 8, 'param_scheduler': [dict(type='CosineAnnealingLR', T_max=8, eta_min=1e-4)]},
        {
            'param_scheduler': [
                dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=14),
                dict(type='CosineAnnealingLR', T_max=24, by_epoch=False, begin=14),
                dict(type='MultiStepMomentum', milestones=[3], gamma=0.5),
            ]
        },
        {'optim_wrapper.optimizer.lr': 0.03, 'optim_wrapper.optimizer.weight_decay': 1e-3},
        {'param_scheduler': []},
    ],
)
def test_a_rebuilt_schedule_is_a_fresh_runs_from_there_on(started, tmp_path, start, changes):
    changes = {'param_scheduler': STEPS, **changes}
    fresh, resumed = Rates(), Rates()
    tiny_run.train(tmp_path / 'fresh', hooks=[fresh], **changes)
    go_on(tmp_path / 'resumed', started / start, hooks=[resumed], **changes, **REBUILD)
    first = 12 if start == 'epoch_2.pth' else 15
    assert resumed.seen == {step: rates for step, rates in fresh.seen.items() if step >= first}
    again = Rates()  # and what it saves is the new schedule
    newest = tmp_path / 'resumed' / 'epoch_3.pth'
    go_on(tmp_path / 'again', newest, hooks=[again], **changes)
    assert again.seen == {step: rates for step, rates in fresh.seen.items() if step >= 18}


def test_a_rebuilt_schedule_keeps_the_state_of_the_optimizer(started, tmp_path):
    saved = torch.load(started / 'epoch_2.pth')['optimizer']['state']

    class Look(Hook):
        def before_train(self, runner) -> None:
            for place, state in enumerate(runner.optim_wrapper.optimizer.state.values()):
                assert torch.equal(state['momentum_buffer'], saved[place]['momentum_buffer'])

    go_on(tmp_path, started / 'epoch_2.pth', hooks=[Look()], **{'optim_wrapper.optimizer.lr': 0.03}, **REBUILD)


def test_what_follows_a_metric_cannot_be_rebuilt(started, tmp_path):
    plateau = {'param_scheduler': [dict(type='ReduceOnPlateauLR', monitor='top1')]}
    with pytest.raises(InputError, match='follows a metric'):
        go_on(tmp_path, started / 'epoch_2.pth', **plateau, **REBUILD)
