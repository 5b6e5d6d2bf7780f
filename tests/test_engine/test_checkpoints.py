"""The newest intact checkpoint is found; what is damaged, foreign or hostile is not taken."""

from __future__ import annotations

import random
import shutil

import pytest
import torch

from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.engine import checkpoints
from crld_zoo.engine.checkpoints import check_fits, find_resume_checkpoint, read_run
from crld_zoo.errors import InputError, MissingFileError

from . import tiny_run


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work directory of a finished run of four epochs."""
    folder = tmp_path_factory.mktemp('trained')
    tiny_run.train(folder, **{'default_hooks.checkpoint.save_best': 'top1', 'default_hooks.checkpoint.rule': 'greater'})
    return folder


@pytest.fixture
def work_dir(trained, tmp_path):
    """A copy of it that a test may damage."""
    return shutil.copytree(trained, tmp_path / 'work')


@pytest.fixture
def skipped(monkeypatch) -> list[str]:
    """What was skipped, with the reasons."""
    reasons = []
    monkeypatch.setattr(checkpoints, '_log_skipped', lambda error: reasons.append(str(error)))
    return reasons


def damage(path, how: str) -> None:
    content = bytearray(path.read_bytes())
    if how == 'flipped':
        start = content.index(torch.load(path)['state_dict']['net.0.weight'].numpy().tobytes())
        content[start + 5] ^= 16
    path.write_bytes(
        {
            'flipped': content,
            'truncated': content[: len(content) // 2],
            'short': content[:-1],
            'empty': b'',
            'text': b'this is no checkpoint\n',
        }[how]
    )


def test_the_newest_is_found(work_dir, skipped):
    assert find_resume_checkpoint(work_dir) == str(work_dir / 'epoch_4.pth')
    assert skipped == []


@pytest.mark.parametrize('how', ['flipped', 'truncated', 'short', 'empty', 'text'])
def test_a_damaged_one_is_skipped_with_a_reason(work_dir, skipped, how):
    damage(work_dir / 'epoch_4.pth', how)
    assert find_resume_checkpoint(work_dir) == str(work_dir / 'epoch_3.pth')
    assert len(skipped) == 1 and 'epoch_4.pth is damaged' in skipped[0]
    with pytest.raises(InputError, match=r'epoch_4\.pth is damaged'):
        read_checkpoint(work_dir / 'epoch_4.pth')


def test_torch_does_not_notice_a_flipped_bit(work_dir):
    """The reason for looking at the checksums; should torch begin to, they need not be looked at twice."""
    before = torch.load(work_dir / 'epoch_4.pth')['state_dict']['net.0.weight']
    damage(work_dir / 'epoch_4.pth', 'flipped')
    assert not torch.equal(torch.load(work_dir / 'epoch_4.pth')['state_dict']['net.0.weight'], before)


def test_any_flipped_bit_is_found_or_harmless(work_dir, tmp_path):
    path, flipped = work_dir / 'epoch_1.pth', tmp_path / 'flipped.pth'
    content, whole = path.read_bytes(), torch.load(path)
    draw = random.Random(0)
    found = 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        flipped.write_bytes(damaged)
        try:
            loaded = read_checkpoint(flipped)
        except InputError:
            found += 1
        else:
            assert tiny_run.differences(whole, loaded) == []
    assert found > 150  # the rest hit padding and dates


@pytest.mark.parametrize('share', [0.01, 0.3, 0.7, 0.99])
def test_any_truncation_is_found(work_dir, share):
    path = work_dir / 'epoch_4.pth'
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(InputError, match='is damaged'):
        read_checkpoint(path)


def test_names_do_not_matter(work_dir, skipped):
    (work_dir / 'epoch_4.pth').rename(work_dir / 'swap.pth')
    (work_dir / 'epoch_1.pth').rename(work_dir / 'epoch_4.pth')
    (work_dir / 'swap.pth').rename(work_dir / 'epoch_1.pth')
    (work_dir / 'last_checkpoint').unlink()
    assert find_resume_checkpoint(work_dir) == str(work_dir / 'epoch_1.pth')
    assert skipped == []


def test_the_best_is_no_candidate(work_dir):
    for path in work_dir.glob('epoch_*.pth'):
        path.unlink()
    (best,) = work_dir.glob('best_*.pth')
    assert find_resume_checkpoint(work_dir) is None
    with pytest.raises(InputError, match='cannot be resumed from, it has no optimizer'):
        read_run(best)


def test_an_earlier_run_is_no_candidate(work_dir, skipped):
    tiny_run.train(work_dir, 7, **{'train_cfg.max_epochs': 2})
    assert find_resume_checkpoint(work_dir) == str(work_dir / 'epoch_1.pth')
    (work_dir / 'epoch_1.pth').unlink()
    assert find_resume_checkpoint(work_dir) is None
    assert any('epoch_4.pth belongs to an earlier run' in reason for reason in skipped)


def test_nothing_is_found_in_nothing(tmp_path):
    assert find_resume_checkpoint(tmp_path) is None
    assert find_resume_checkpoint(tmp_path / 'missing') is None


def test_code_is_refused(work_dir, tmp_path, skipped):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / 'ran'), 'w')

    torch.save(dict(meta=Hostile(), message_hub={}, optimizer={}, state_dict={}), work_dir / 'epoch_5.pth')
    assert find_resume_checkpoint(work_dir) == str(work_dir / 'epoch_4.pth')
    assert 'wants to run code' in skipped[0]
    assert not (tmp_path / 'ran').exists()


def test_a_checkpoint_of_another_model_is_refused(work_dir):
    path = work_dir / 'epoch_4.pth'
    check_fits(tiny_run.NoisyNet(), path)
    other = tiny_run.NoisyNet()
    other.net[0] = torch.nn.Linear(5, 8)
    other.net[4] = torch.nn.Identity()
    other.extra = torch.nn.Linear(1, 1)
    with pytest.raises(
        InputError,
        match='missing: extra.bias, extra.weight; unknown: net.4.bias, net.4.weight; '
        r'of another shape: net.0.weight \(8, 4\) instead of \(8, 5\)',
    ):
        check_fits(other, path)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match='there is no checkpoint'):
        read_run(tmp_path / 'epoch_1.pth')


def test_what_is_no_training_checkpoint(tmp_path):
    torch.save(torch.ones(2), tmp_path / 'tensor.pth')
    assert find_resume_checkpoint(tmp_path) is None
    with pytest.raises(InputError, match='cannot be resumed from, it has no meta'):
        read_run(tmp_path / 'tensor.pth')
