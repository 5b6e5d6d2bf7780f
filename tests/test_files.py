"""A file is complete or not there."""

from __future__ import annotations

import builtins
import errno
import multiprocessing
import os
import random
import signal
import time

import mmengine.fileio
import pytest

from crld_zoo import compat, files
from crld_zoo.errors import InputError

OLD, NEW = b'old' * 1000, b'new' * 2000


class FullDisk:
    """A file on a disk that is full after so many bytes."""

    def __init__(self, file, room: int) -> None:
        self.file, self.room = file, room

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        self.file.close()

    def write(self, data: bytes) -> None:
        self.file.write(data[: self.room])
        self.file.flush()
        if len(data) > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def __getattr__(self, name: str):
        return getattr(self.file, name)


@pytest.mark.parametrize('room', [0, 1, 3000, len(NEW) - 1])
def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch, room):
    path = tmp_path / 'epoch_1.pth'
    files.write_atomically(OLD, path)
    opened = builtins.open
    monkeypatch.setattr(builtins, 'open', lambda *args: FullDisk(opened(*args), room))
    with pytest.raises(InputError, match=r'epoch_1\.pth .* could not be written \(No space left on device\): make'):
        files.write_atomically(NEW, path)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize('step', ['fsync', 'replace'])
def test_a_failure_at_any_step_leaves_the_old_file(tmp_path, monkeypatch, step):
    path = tmp_path / 'epoch_1.pth'
    files.write_atomically(OLD, path)

    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, step, fail)
    with pytest.raises(InputError, match='Input/output error'):
        files.write_atomically(NEW, path)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize(
    'number', [errno.EACCES, errno.ENOENT, errno.EIO, errno.ENAMETOOLONG, errno.EROFS, errno.ENOSPC, errno.EDQUOT]
)
def test_the_reason_is_told_and_room_made_only_where_it_lacks(tmp_path, monkeypatch, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(builtins, 'open', fail)
    with pytest.raises(InputError) as caught:
        files.write_atomically(NEW, tmp_path / 'epoch_1.pth')
    said = str(caught.value)
    assert os.strerror(number) in said
    assert ('make room' in said) == (number in (errno.ENOSPC, errno.EDQUOT))


@pytest.mark.parametrize(
    ('name', 'reason'), [('n' * 300, 'File name too long'), ('file/epoch_1.pth', 'File exists|Not a directory')]
)
def test_a_name_that_cannot_be(tmp_path, name, reason):
    (tmp_path / 'file').write_bytes(OLD)
    with pytest.raises(InputError, match=rf'could not be written \(({reason})\): see to'):
        files.write_atomically(NEW, tmp_path / name)


def test_windows_syncs_no_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(files.os, 'name', 'nt')
    monkeypatch.setattr(os, 'open', lambda *_: pytest.fail('Windows cannot open a folder'))
    files._sync_folder(tmp_path)


def test_the_bytes_reach_the_disk_before_the_name(tmp_path, monkeypatch):
    steps = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, 'fsync', lambda descriptor: (steps.append('fsync'), fsync(descriptor)))
    monkeypatch.setattr(os, 'replace', lambda *paths: (steps.append('replace'), replace(*paths)))
    files.write_atomically(NEW, tmp_path / 'epoch_1.pth')
    assert steps == ['fsync', 'replace', 'fsync']


def test_mmengine_writes_through_it(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(compat, 'write_atomically', lambda data, path: written.append((data, str(path))))
    path = str(tmp_path / 'epoch_1.pth')
    for backend_args in (None, dict(backend='local')):
        mmengine.fileio.put(NEW, path, backend_args)
        mmengine.fileio.put_text('new', path, backend_args)
    assert written == 2 * [(NEW, path), (b'new', path)]


def _write_forever(path) -> None:
    for version in range(256):
        files.write_atomically(bytes([version]) * 300_000, path)


def test_a_kill_at_any_moment_leaves_a_complete_file(tmp_path):
    path = tmp_path / 'epoch_1.pth'
    files.write_atomically(b'\xff' * 300_000, path)
    draw = random.Random(0)
    for _ in range(25):
        process = multiprocessing.get_context('fork').Process(target=_write_forever, args=(path,))
        process.start()
        time.sleep(draw.uniform(0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        content = path.read_bytes()
        assert content == content[:1] * 300_000
    (tmp_path / '.epoch_2.pth.unfinished').write_bytes(b'half')
    files.remove_unfinished(tmp_path)
    assert os.listdir(tmp_path) == [path.name]
