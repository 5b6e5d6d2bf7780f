"""Nothing is removed before its successor is safe."""

from __future__ import annotations

import os
import re

import pytest
import torch

from crld_zoo.engine import CheckpointHook
from crld_zoo.errors import InputError

from . import tiny_run

BEST = {'default_hooks.checkpoint.save_best': 'top1', 'default_hooks.checkpoint.rule': 'greater'}


@pytest.fixture
def changes(monkeypatch) -> list[tuple[str, str]]:
    """Which file appeared or went, in order."""
    seen = []
    replace, remove = os.replace, os.remove

    def replaced(source, target):
        replace(source, target)
        seen.append(('+', os.path.basename(target)))

    def removed(path):
        remove(path)
        seen.append(('-', os.path.basename(path)))

    monkeypatch.setattr(os, 'replace', replaced)
    monkeypatch.setattr(os, 'remove', removed)
    return seen


def test_outdated_checkpoints_go_last(tmp_path, changes):
    tiny_run.train(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    assert changes == [
        ('+', '.run'),
        ('+', 'epoch_1.pth'),
        ('+', 'last_checkpoint'),
        *(
            step
            for epoch in (2, 3, 4)
            for step in [('+', f'epoch_{epoch}.pth'), ('+', 'last_checkpoint'), ('-', f'epoch_{epoch - 1}.pth')]
        ),
    ]
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_4.pth')


def test_another_metric_begins_to_choose_the_best_anew(tmp_path):
    tiny_run.METRICS.register_module(module=Rising, force=True)
    tiny_run.train(tmp_path, 13, val_evaluator=dict(type='Rising'), **BEST)
    other = {**BEST, 'default_hooks.checkpoint.save_best': 'top5'}  # below 0, where top1 is above
    resumed = tiny_run.resume(tmp_path, val_evaluator=dict(type='Rising'), **other)
    assert resumed.message_hub.get_info('best_score') == -1
    assert (tmp_path / 'best_top5_epoch_3.pth').is_file()


class Rising(tiny_run.Hits):
    """A metric that gets better with every epoch."""

    def compute_metrics(self, results: list) -> dict:
        self.value = getattr(self, 'value', 0) + 1
        return dict(top1=self.value, top5=-self.value)


@pytest.mark.parametrize('several', [False, True])
def test_the_surpassed_goes_after_the_better_is_safe(tmp_path, changes, several):
    tiny_run.METRICS.register_module(module=Rising, force=True)
    keys = (
        {'default_hooks.checkpoint.save_best': ['top1', 'top5'], 'default_hooks.checkpoint.rule': ['greater', 'less']}
        if several
        else BEST
    )
    tiny_run.train(tmp_path, **keys, **{'val_evaluator': dict(type='Rising'), 'train_cfg.max_epochs': 3})
    for key in ('top1', 'top5')[: 1 + several]:
        of_key = [(sign, name) for sign, name in changes if key in name]
        assert of_key == [
            ('+', f'best_{key}_epoch_1.pth'),
            *(
                step
                for epoch in (2, 3)
                for step in [('+', f'best_{key}_epoch_{epoch}.pth'), ('-', f'best_{key}_epoch_{epoch - 1}.pth')]
            ),
        ]
    kept = torch.load(tmp_path / 'epoch_3.pth')['message_hub']['runtime_info']
    assert kept['best_ckpt_top1' if several else 'best_ckpt'] == str(tmp_path / 'best_top1_epoch_3.pth')


def test_the_best_is_kept_where_nothing_is_better(tmp_path):
    worse = {**BEST, 'val_evaluator': dict(type='Rising'), 'default_hooks.checkpoint.rule': 'less'}
    tiny_run.METRICS.register_module(module=Rising, force=True)
    runner = tiny_run.train(tmp_path, **worse)
    (hook,) = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    assert hook.best_ckpt_path == str(tmp_path / 'best_top1_epoch_1.pth')
    assert [path.name for path in tmp_path.glob('best*')] == ['best_top1_epoch_1.pth']


def test_the_surpassed_goes_after_a_resume_as_well(tmp_path):
    tiny_run.METRICS.register_module(module=Rising, force=True)
    rising = {**BEST, 'val_evaluator': dict(type='Rising')}
    tiny_run.train(tmp_path, 14, **rising)
    tiny_run.train(tmp_path, **rising, resume=True, load_from=str(tmp_path / 'epoch_2.pth'))
    # the metric starts anew at 1, so only the fourth epoch surpasses the second
    assert [path.name for path in tmp_path.glob('best*')] == ['best_top1_epoch_2.pth']


def test_a_snapshot_holds_no_half_of_a_step(tmp_path, changes):
    """Of 6 batches, three a step; gradients are in no checkpoint."""
    tiny_run.train(
        tmp_path,
        **{
            'default_hooks.checkpoint.snapshot_interval': 2,
            'train_cfg.max_epochs': 1,
            'optim_wrapper.accumulative_counts': 3,
            'default_hooks.checkpoint.interval': 9,
            'default_hooks.checkpoint.save_last': False,
        },
    )
    assert torch.load(tmp_path / 'snapshot.pth', weights_only=True)['meta']['iter'] == 6


def test_a_snapshot_goes_with_the_next_checkpoint(tmp_path, changes):
    tiny_run.train(tmp_path, **{'default_hooks.checkpoint.snapshot_interval': 4, 'train_cfg.max_epochs': 1})
    assert changes == [
        ('+', '.run'),
        ('+', 'snapshot.pth'),
        ('+', 'last_checkpoint'),
        ('+', 'epoch_1.pth'),
        ('+', 'last_checkpoint'),
        ('-', 'snapshot.pth'),
    ]


def test_leftovers_of_a_kill_are_removed_at_the_next_start(tmp_path):
    for name in ('.epoch_1.pth.unfinished', '.last_checkpoint.unfinished'):
        (tmp_path / name).write_bytes(b'half')
    tiny_run.train(tmp_path, 1)
    assert not list(tmp_path.glob('.*unfinished'))


def test_a_full_disk_ends_the_run_and_keeps_what_was_saved(tmp_path, monkeypatch):
    fsync = os.fsync

    def full(descriptor):
        if 'epoch_3' in os.readlink(f'/proc/self/fd/{descriptor}'):
            raise OSError(28, 'No space left on device')
        fsync(descriptor)

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(InputError, match=re.escape(f'{tmp_path}/epoch_3.pth')):
        tiny_run.train(tmp_path, **{'default_hooks.checkpoint.max_keep_ckpts': 1})
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_2.pth']
    assert (tmp_path / 'last_checkpoint').read_text() == str(tmp_path / 'epoch_2.pth')


@pytest.mark.parametrize(
    ('option', 'problem'),
    [
        (dict(max_keep=3), 'has no option max_keep'),
        (dict(filename_tmpl='../epoch_{}.pth'), 'filename_tmpl is the name of a file'),
        (dict(snapshot_interval=-1), 'snapshot_interval must be 0 or more'),
        (dict(file_client_args=dict(backend='disk')), 'use backend_args'),
    ],
)
def test_impossible_options(option, problem):
    with pytest.raises(InputError, match=problem):
        CheckpointHook(**option)
