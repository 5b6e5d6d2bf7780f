"""A resumed run is the run that never stopped, bit for bit."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from crld_zoo.engine.randomness import Stream, seed_generators
from crld_zoo.errors import InputError

from . import tiny_run

LAST = 'epoch_4.pth'  # six batches an epoch, the last one of two images


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory) -> dict:
    """The last checkpoint of the run that was not disturbed."""
    folder = tmp_path_factory.mktemp('undisturbed')
    tiny_run.train(folder)
    return torch.load(folder / LAST)


class Recorder(Hook):
    """Which images the training steps saw, by epoch."""

    def __init__(self, seen: dict[int, list[int]]) -> None:
        self.seen = seen

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        self.seen.setdefault(runner.epoch, []).extend(data_batch['index'].tolist())


@pytest.mark.parametrize('kill_after', [7, 12, 20])
def test_resume_from_the_end_of_an_epoch(tmp_path, undisturbed, kill_after):
    tiny_run.train(tmp_path, kill_after)
    tiny_run.resume(tmp_path)
    assert tiny_run.differences(undisturbed, torch.load(tmp_path / LAST)) == []


@pytest.mark.parametrize('kill_after', [1, 8, 12, 24])
def test_resume_from_the_middle_of_an_epoch(tmp_path, undisturbed, kill_after):
    tiny_run.train(tmp_path, kill_after, **{'default_hooks.checkpoint.snapshot_interval': 1})
    assert torch.load(tmp_path / 'snapshot.pth')['meta']['iter'] == kill_after
    resumed = tiny_run.resume(tmp_path)
    assert resumed.iter == 24
    assert tiny_run.differences(undisturbed, torch.load(tmp_path / LAST)) == []
    assert not (tmp_path / 'snapshot.pth').exists()


def test_checkpoints_by_iteration_resume_with_the_next_batch(tmp_path, undisturbed):
    by_iteration = {
        'default_hooks.checkpoint': dict(type='CheckpointHook', by_epoch=False, interval=5),
        'custom_hooks': [dict(type='EMAHook', momentum=0.1)],
    }
    tiny_run.train(tmp_path, 17, **by_iteration)
    tiny_run.resume(tmp_path, **by_iteration)
    last = torch.load(tmp_path / 'iter_24.pth')
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert tiny_run.differences(undisturbed[part], last[part]) == []


def test_every_image_of_the_epoch_is_seen_once(tmp_path):
    whole, parts = {}, {}
    tiny_run.train(tmp_path / 'whole', hooks=[Recorder(whole)])
    often = {'default_hooks.checkpoint.snapshot_interval': 1}
    tiny_run.train(tmp_path / 'parts', 9, hooks=[Recorder(parts)], **often)
    for stop in (10, 15, None):
        tiny_run.train(
            tmp_path / 'parts',
            stop,
            hooks=[Recorder(parts)],
            resume=True,
            load_from=str(tmp_path / 'parts' / 'snapshot.pth'),
            **often,
        )
    assert parts == whole
    assert all(sorted(seen) == list(range(22)) for seen in whole.values())
    assert whole[0] != whole[1]


@pytest.mark.parametrize('persistent', [False, True])
def test_loader_workers_change_nothing(tmp_path, undisturbed, persistent):
    loader = {'train_dataloader.num_workers': 2, 'train_dataloader.persistent_workers': persistent}
    often = {'default_hooks.checkpoint.snapshot_interval': 1}
    tiny_run.train(tmp_path, 9, **loader, **often)
    tiny_run.resume(tmp_path, **loader)
    assert tiny_run.differences(undisturbed, torch.load(tmp_path / LAST)) == []


def test_validation_leaves_the_training_alone(tmp_path, undisturbed):
    tiny_run.train(tmp_path, **{'train_cfg.val_interval': 3})
    last = torch.load(tmp_path / LAST)
    for part in ('state_dict', 'ema_state_dict', 'optimizer'):
        assert tiny_run.differences(undisturbed[part], last[part]) == []


def test_the_noise_of_the_loader_is_never_the_same(tmp_path):
    class Listener(Hook):
        def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
            noise.extend(data_batch['noise'].tolist())

    noise = []
    tiny_run.train(tmp_path, hooks=[Listener()], **{'train_dataloader.num_workers': 2})
    assert len(set(noise)) == 4 * 22


def test_each_process_has_its_own_noise():
    draws = set()
    for rank in range(3):
        for stream in Stream:
            seed_generators(stream, 0, rank, 0)
            draws |= {random.random(), np.random.rand(), torch.rand(()).item()}
    assert len(draws) == 3 * 3 * len(Stream)


def test_noise_differs_between_epochs_and_seeds(tmp_path):
    losses = {}
    for seed in (7, 8):
        hub = tiny_run.train(
            tmp_path / str(seed),
            **{'randomness.seed': seed, 'train_cfg.max_epochs': 2, 'optim_wrapper.optimizer.lr': 0.0},
        ).message_hub
        losses[seed] = hub.get_scalar('train/loss').data[0]
    assert len({*losses[7], *losses[8]}) == 24


def test_a_validation_that_was_cut_off_is_made_up_for(tmp_path):
    class StopInValidation(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None) -> None:
            if runner.epoch == 2 and batch_idx == 3:
                raise tiny_run.Killed

    with pytest.raises(tiny_run.Killed):
        tiny_run.train(tmp_path, hooks=[StopInValidation()])
    resumed = tiny_run.resume(tmp_path)
    undisturbed = tiny_run.train(tmp_path / 'undisturbed')
    assert len(undisturbed.message_hub.get_scalar('val/top1').data[0]) == 4
    assert tiny_run.differences(*(run.message_hub.get_scalar('val/top1') for run in (resumed, undisturbed))) == []


def test_a_validation_that_was_finished_is_not_repeated(tmp_path):
    best = {'default_hooks.checkpoint.save_best': 'top1', 'default_hooks.checkpoint.rule': 'less'}
    tiny_run.train(tmp_path, 7, **best)  # the first epoch is the best so far: its checkpoint is saved once more
    resumed = tiny_run.resume(tmp_path, **best)
    assert len(resumed.message_hub.get_scalar('val/top1').data[0]) == 4


def test_the_middle_of_an_epoch_needs_the_same_batches(tmp_path):
    tiny_run.train(tmp_path, 9, **{'default_hooks.checkpoint.snapshot_interval': 1})
    with pytest.raises(InputError, match='middle of an epoch of 6 batches, but now an epoch has 11'):
        tiny_run.resume(tmp_path, **{'train_dataloader.batch_size': 2})


def test_the_end_of_an_epoch_takes_other_batches(tmp_path):
    tiny_run.train(tmp_path, 9)
    assert tiny_run.resume(tmp_path, **{'train_dataloader.batch_size': 2}).epoch == 4


def test_a_run_without_a_seed_resumes_with_the_one_it_drew(tmp_path):
    drawn = tiny_run.train(tmp_path, 9, **{'randomness.seed': None, 'default_hooks.checkpoint.snapshot_interval': 1})
    seen = {}
    tiny_run.resume(tmp_path, hooks=[Recorder(seen)], **{'randomness.seed': None})
    whole = {}
    tiny_run.train(tmp_path / 'whole', hooks=[Recorder(whole)], **{'randomness.seed': drawn.seed})
    assert seen[1] == whole[1][12:] and seen[2] == whole[2]


def test_a_built_loader_is_refused(tmp_path):
    runner = tiny_run.build(tmp_path)
    runner._train_dataloader = runner.build_dataloader(runner._train_dataloader)
    with pytest.raises(InputError, match='train_dataloader must be a config'):
        runner.train()


def test_another_number_of_batches_is_named(tmp_path, monkeypatch):
    tiny_run.train(tmp_path, kill_after=12)  # the end of an epoch
    told = []
    monkeypatch.setattr('mmengine.logging.MMLogger.warning', lambda self, text, *args: told.append(str(text)))
    tiny_run.resume(tmp_path, **{'train_dataloader.batch_size': 8})
    assert [text for text in told if 'an epoch had 6 batches when the checkpoint was made and has 3 now' in text]
    told.clear()
    tiny_run.train(tmp_path / 'new')
    assert not [text for text in told if 'an epoch had' in text]
