"""A work directory belongs to one run, and to one process at a time."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import time

import pytest

from crld_zoo.errors import InputError
from crld_zoo.launch import work_dir as module
from crld_zoo.launch.work_dir import occupied

from ..test_engine import tiny_run

_FORK = multiprocessing.get_context('fork')


def _hold(folder, ready, with_child: bool) -> None:
    with occupied(folder):
        if with_child:  # as a loader worker
            child = _FORK.Process(target=time.sleep, args=(60,))
            child.start()
            (folder / 'child').write_text(str(child.pid))
        ready.set()
        time.sleep(60)


@pytest.fixture
def holder(tmp_path):
    """Starts a process that occupies the folder."""
    started = []

    def start(with_child: bool = False):
        ready = _FORK.Event()
        process = _FORK.Process(target=_hold, args=(tmp_path, ready, with_child))
        process.start()
        started.append(process)
        assert ready.wait(30)
        return process

    yield start
    for process in started:
        process.kill()
        process.join()
    if (tmp_path / 'child').exists():
        os.kill(int((tmp_path / 'child').read_text()), signal.SIGKILL)


@pytest.mark.parametrize('resume', [False, 'auto', True])
def test_a_folder_in_use_is_refused_also_while_its_run_is_stopped(tmp_path, holder, resume):
    process = holder()
    os.kill(process.pid, signal.SIGSTOP)
    with (
        pytest.raises(InputError, match=f'is in use by process {process.pid} on .*--work-dir'),
        occupied(tmp_path, resume),
    ):
        pass


def test_the_lock_ends_with_its_process_though_its_workers_live(tmp_path, holder):
    process = holder(with_child=True)
    process.kill()
    process.join()
    os.kill(int((tmp_path / 'child').read_text()), 0)
    with occupied(tmp_path) as found:
        assert found == (None, None)


def test_a_folder_is_free_again_after_its_run(tmp_path):
    for _ in range(2):
        with occupied(tmp_path / 'new'):
            pass


def test_a_file_system_without_locks_gets_a_warning(tmp_path, monkeypatch, caplog):
    def no_locks(file, place):
        raise OSError(37, 'No locks available')

    monkeypatch.setattr(module, 'lock', no_locks)
    told = []
    monkeypatch.setattr(module, 'print_log', lambda text, **_: told.append(text))
    with occupied(tmp_path):
        assert 'cannot be locked (No locks available)' in told[0]


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """The work directory of a run of two epochs."""
    folder = tmp_path_factory.mktemp('trained')
    tiny_run.train(folder, **{'train_cfg.max_epochs': 2})
    return folder


@pytest.mark.parametrize('left', ['last_checkpoint', 'epoch_1.pth', 'best_top1_epoch_1.pth'])
def test_a_folder_with_another_run_is_refused_with_the_two_ways_out(tmp_path, left):
    (tmp_path / left).write_bytes(b'')
    with (
        pytest.raises(InputError, match=r'holds the checkpoints of another run: .*--resume.*--work-dir'),
        occupied(tmp_path),
    ):
        pass


def test_a_run_that_saved_nothing_is_in_nobodys_way(tmp_path):
    tiny_run.train(tmp_path, 1)
    with occupied(tmp_path) as found:
        assert found == (None, None)


@pytest.mark.parametrize('resume', ['auto', True])
def test_a_resume_gets_checkpoint_and_seed(trained, resume):
    with occupied(trained, resume) as found:
        assert found == (str(trained / 'epoch_2.pth'), 7)


def test_a_resume_from_elsewhere_mixes_no_runs(trained, tmp_path):
    other, copy = tmp_path / 'other', shutil.copytree(trained, tmp_path / 'copy')
    start = str(trained / 'epoch_1.pth')
    for folder in (trained, copy, other):
        with occupied(folder, start) as found:
            assert found == (start, 7)
    tiny_run.train(other, **{'train_cfg.max_epochs': 1})
    with pytest.raises(InputError, match='epoch_1.pth is of another run than .*other holds'), occupied(other, start):
        pass
