"""A run whose teacher is the average of its student: resumed exactly, out of what is handed on, judged by no check."""

from __future__ import annotations

import pytest
import torch
from mmengine.runner import Runner

from crld_zoo.engine import find_resume_checkpoint
from crld_zoo.errors import InputError

from .. import small_run
from . import tiny_run

TEACHER = {'model.teacher': dict(_delete_=True, type='EMATeacher', decay=0.9)}  # which ten steps pass
KEPT = {'default_hooks.checkpoint.snapshot_interval': 1}
STEPS = 6  # of an epoch


def train(folder, kill_after: int | None = None, resume: bool = False, **changes) -> Runner:
    hooks = {'custom_hooks': [dict(type='EMAHook', momentum=0.1)]} if changes.pop('average', False) else {}
    if resume:
        hooks |= dict(resume=True, load_from=find_resume_checkpoint(folder))
    runner = Runner.from_cfg(small_run.config(folder, **TEACHER, **hooks, **changes))
    if kill_after is not None:
        runner.register_hook(tiny_run.KillAt(kill_after))
        with pytest.raises(tiny_run.Killed):
            runner.train()
    else:
        runner.train()
    return runner


@pytest.mark.parametrize('average', [False, True], ids=['alone', 'beside EMAHook'])
@pytest.mark.parametrize('kill_after', [STEPS, STEPS + 3], ids=['between epochs', 'within an epoch'])
def test_a_resumed_run_goes_on_with_it(tmp_path, kill_after, average):
    train(tmp_path / 'whole', average=average)
    train(tmp_path / 'stopped', kill_after, average=average, **KEPT)
    train(tmp_path / 'stopped', resume=True, average=average)
    whole, resumed = (torch.load(tmp_path / run / 'epoch_2.pth') for run in ('whole', 'stopped'))
    assert whole['teacher']['steps'] == 2 * STEPS
    assert tiny_run.differences(whole, resumed) == []


def test_averaged_weights_beside_it_do_not_disturb_it(tmp_path):
    train(tmp_path / 'alone')
    train(tmp_path / 'averaged', average=True)
    alone, averaged = (torch.load(tmp_path / run / 'epoch_2.pth') for run in ('alone', 'averaged'))
    assert tiny_run.differences(alone['teacher'], averaged['teacher']) == []
    assert tiny_run.differences(alone['state_dict'], averaged['state_dict']) != []


def test_steps_that_are_not_made_do_not_count(tmp_path):
    accumulated = train(tmp_path, **{'optim_wrapper.accumulative_counts': 2}).model.teacher
    assert accumulated.steps == STEPS


def test_a_skipped_step_leaves_it(tmp_path):
    """The loss of the third step is not finite."""
    steps = []

    class Watch(small_run.Hook):
        priority = 'LOWEST'

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            runner.model.distiller.ce_weight = float('nan') if runner.iter == 2 else 1.0

        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            steps.append(runner.model.teacher.steps)

    small_run.train(
        tmp_path, (Watch(),), read_losses=False, **TEACHER, **{'default_hooks.divergence': dict(max_skips=1)}
    )
    assert steps[:4] == [1, 2, 2, 3]


def test_only_what_a_run_goes_on_from_holds_it(tmp_path):
    held_out = dict(
        batch_size=4,
        num_workers=0,
        dataset=dict(type='SyntheticImages', num_images=6, num_classes=small_run.CLASSES, size=small_run.SIZE),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='as_batch'),
    )
    changes = {
        'val_dataloader': held_out,
        'val_evaluator': dict(type='Accuracy'),
        'val_cfg': dict(),
        'default_hooks.checkpoint.save_best': 'accuracy/top1',
        'default_hooks.teacher_accuracy': dict(_delete_=True, type='TeacherAccuracyHook'),
    }
    runner = train(tmp_path, **changes)
    assert 'teacher_top1' not in runner.message_hub.runtime_info, 'a student at its beginning guesses'
    (best,) = tmp_path.glob('best_accuracy*.pth')
    for path in (best, tmp_path / 'student.pth', tmp_path / 'best_student.pth'):
        content = torch.load(path)
        assert 'teacher' not in content and not any('teacher' in key for key in content['state_dict'])
        assert content['state_dict'].keys() == runner.model.student.state_dict().keys()
    assert 'teacher' in torch.load(tmp_path / 'epoch_2.pth')


def test_a_checkpoint_without_it_is_refused(tmp_path):
    small_run.train(tmp_path, **{'train_cfg.max_epochs': 1})
    with pytest.raises(InputError, match='does not hold the average of this student') as error:
        train(tmp_path, resume=True)
    assert '\n' not in str(error.value)


def test_it_cannot_teach_what_no_label_teaches(tmp_path):
    unlabeled = {'train_dataloader.dataset.labels_per_class': 0, 'train_dataloader.dataset.others': 'unlabeled'}
    with pytest.raises(InputError, match='EMATeacher knows only what the student learned'):
        train(tmp_path, **unlabeled)


def test_an_option_that_it_has_not_is_refused(tmp_path):
    with pytest.raises(InputError, match=r'model.teacher.* has no option .?compile'):
        small_run.config(tmp_path, **{'model.teacher': dict(_delete_=True, type='EMATeacher', compile=True)})
