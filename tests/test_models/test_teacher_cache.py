"""A teacher's kept logits: read as they were written, whoever wrote them and however it ended."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil

import numpy as np
import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.models import TeacherCache
from crld_zoo.models.cache import _File, _row
from crld_zoo.views import SampleKeys

SAMPLES, CLASSES = 10, 7
DECIDES = dict(teacher='a' * 64, images='b')


def keys(samples, epoch: int = 0, copies=None) -> SampleKeys:
    samples = torch.tensor(samples)
    return SampleKeys(0, epoch, samples, torch.zeros_like(samples) if copies is None else torch.tensor(copies))


def logits(rows: int, seed: int = 0) -> torch.Tensor:
    return 9 * torch.randn(rows, CLASSES, generator=torch.Generator().manual_seed(seed))


def opened(folder, decides=DECIDES, views=None, images=None, passes=None, **options) -> TeacherCache:
    cache = TeacherCache(folder, **options)
    cache.open(SAMPLES, CLASSES, decides, views or dict(weak='crop'), images, passes)
    return cache


def said(cache: TeacherCache, view: str, keys: SampleKeys, run) -> torch.Tensor:
    """What a teacher says, which runs unless that is kept."""
    kept = cache.find(view, keys)
    return cache.keep(view, keys, run()) if kept is None else kept


def never():
    raise AssertionError('the teacher ran')


def test_what_is_written_is_read_by_sample_pass_view_and_copy(tmp_path):
    first = opened(tmp_path, views=dict(weak='crop', strong='cutout'))
    made = {}
    for epoch in (0, 1):
        for view in ('weak', 'strong'):
            for copy in (0, 1):
                key = keys([3, 1, 8], epoch, [copy] * 3)
                made[view, epoch, copy] = logits(3, len(made))
                result = said(first, view, key, lambda value=made[view, epoch, copy]: value)
                assert torch.equal(result, made[view, epoch, copy])
    first.close()
    second = opened(tmp_path, views=dict(weak='crop', strong='cutout'))
    for (view, epoch, copy), value in made.items():
        read = said(second, view, keys([8, 3], epoch, [copy] * 2), never)
        assert torch.equal(read, value[[2, 0]])
    assert (second.read, second.computed) == (16, 0)


def test_a_batch_with_a_sample_that_is_not_there_is_computed_whole(tmp_path):
    cache = opened(tmp_path)
    said(cache, 'weak', keys([0, 1]), lambda: logits(2))
    asked = []
    other = logits(3, 1)
    said(cache, 'weak', keys([0, 1, 2]), lambda: asked.append(1) or other)
    assert asked and torch.equal(said(cache, 'weak', keys([2, 0]), never), other[[2, 0]])


def test_several_images_of_a_sample(tmp_path):
    cache = opened(tmp_path, images=dict(weak=4))
    rows = logits(8)
    said(cache, 'weak', keys([5, 2]), lambda: rows)
    assert torch.equal(said(cache, 'weak', keys([2, 5]), never), torch.cat([rows[4:], rows[:4]]))


def test_half_precision_gives_the_writer_what_the_reader_gets(tmp_path):
    cache, exact = opened(tmp_path, dtype='float16'), logits(2)
    written = said(cache, 'weak', keys([0, 1]), lambda: exact)
    assert torch.equal(written, exact.half().float()) and not torch.equal(written, exact)
    assert torch.equal(said(cache, 'weak', keys([0, 1]), never), written)


def test_the_highest_logits_keep_their_probabilities(tmp_path):
    cache, exact = opened(tmp_path, top_k=3), logits(4)
    written = said(cache, 'weak', keys([0, 1, 2, 3]), lambda: exact)
    assert torch.equal(said(cache, 'weak', keys([0, 1, 2, 3]), never), written)
    expected, found = exact.double().softmax(1), written.double().softmax(1)
    for row in range(4):
        top = expected[row].topk(3).indices.tolist()
        rest = [index for index in range(CLASSES) if index not in top]
        torch.testing.assert_close(found[row, top], expected[row, top], rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(
            found[row, rest], expected[row, rest].mean().expand(CLASSES - 3), rtol=1e-5, atol=1e-7
        )


def test_torn_rows_are_told_by_their_checksum_and_made_again(tmp_path):
    cache = opened(tmp_path)
    rows = logits(3)
    said(cache, 'weak', keys([0, 1, 2]), lambda: rows)
    cache.close()
    path = tmp_path / 'weak' / '0000.rows'
    data = bytearray(path.read_bytes())
    data[len(data) // SAMPLES + 9] ^= 1  # a bit of sample 1
    path.write_bytes(data)
    cache = opened(tmp_path)
    assert torch.equal(said(cache, 'weak', keys([0, 2]), never), rows[[0, 2]])
    again = logits(1, 1)
    assert torch.equal(said(cache, 'weak', keys([1]), lambda: again), again)
    assert torch.equal(said(cache, 'weak', keys([1]), never), again)


@pytest.mark.parametrize('left', [1.9, 1.05, 0.75], ids=['the second copy', 'the room for it', 'the first copy'])
def test_what_is_whole_in_a_torn_file_is_used(tmp_path, log, left):
    cache, rows = opened(tmp_path), logits(4)
    for copy in (0, 1):
        said(cache, 'weak', keys([0, 1, 7, 9], copies=[copy] * 4), lambda: rows)
    cache.close()
    path = tmp_path / 'weak' / '0000.rows'
    size = path.stat().st_size
    os.truncate(path, int(left * size / 2))
    cache, last = opened(tmp_path), logits(1, 1)
    assert torch.equal(said(cache, 'weak', keys([0, 1]), never), rows[:2])
    assert re.search(r'0000\.rows of the teacher.s cache is torn: it has \d+ bytes', log.text)
    if left == 0.75:
        assert torch.equal(said(cache, 'weak', keys([7]), lambda: last), last), 'the row at the tear'
    else:
        assert torch.equal(said(cache, 'weak', keys([7, 9]), never), rows[2:])
    assert torch.equal(said(cache, 'weak', keys([9], copies=[1]), lambda: last), last)
    assert path.stat().st_size == size
    cache.close()
    assert torch.equal(said(opened(tmp_path), 'weak', keys([9, 1], copies=[1, 0]), never)[0], last[0])


def test_a_torn_file_is_read_where_the_disk_is_full(tmp_path, full_disk):
    """And the run goes on."""
    row = 4 + 4 * CLASSES
    made, path = logits(2), tmp_path / 'made' / 'weak' / '0000.rows'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr('builtins.open', full_disk)
        cache = opened(tmp_path / 'made')
        said(cache, 'weak', keys([0, 1]), lambda: made)
        cache.close()
        with open(path, 'ab') as file:
            file.write(bytes(row))
    cache = opened(tmp_path / 'made')
    assert torch.equal(said(cache, 'weak', keys([1, 0]), never), made[[1, 0]])
    assert torch.equal(said(cache, 'weak', keys([2]), lambda: made[:1]), made[:1])


@pytest.mark.parametrize(
    ('options', 'difference'),
    [
        (dict(decides=dict(DECIDES, teacher='c' * 64)), f'teacher: {"a" * 64} there, {"c" * 64} here'),
        (dict(decides=dict(DECIDES, images='other')), 'images: b there, other here'),
        (dict(decides=dict(DECIDES, extra='new')), 'extra: nothing there, new here'),
        (dict(views=dict(weak='flip')), 'view: crop there, flip here'),
        (dict(dtype='float16'), 'dtype: float32 there, float16 here'),
        (dict(top_k=2), 'top_k: all there, 2 here'),
    ],
)
def test_a_cache_of_something_else_is_refused_with_the_difference(tmp_path, options, difference):
    opened(tmp_path).close()
    with pytest.raises(InputError, match=re.escape(difference)):
        opened(tmp_path, **options)


def test_a_view_is_added_to_a_cache_later(tmp_path):
    said(opened(tmp_path), 'weak', keys([0]), lambda: logits(1))
    both = opened(tmp_path, views=dict(weak='crop', strong='cutout'))
    said(both, 'strong', keys([0]), lambda: logits(1, 1))
    assert torch.equal(said(both, 'weak', keys([0]), never), logits(1))


def test_a_damaged_description(tmp_path):
    opened(tmp_path).close()
    (tmp_path / 'cache.json').write_text('{')
    with pytest.raises(InputError, match='is no description of a cache'):
        opened(tmp_path)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(dtype='int8'), 'dtype must be one of'),
        (dict(top_k=0), 'top_k must be a whole number'),
        (dict(top_k=True), 'top_k must be a whole number'),
        (dict(on_full='wait'), "on_full must be 'continue' or 'stop'"),
        (dict(top_k=CLASSES), f'top_k={CLASSES} of {CLASSES} classes'),
    ],
)
def test_impossible_options(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        opened(tmp_path, **options)


def test_who_is_not_opened_says_so(tmp_path):
    with pytest.raises(InputError, match='is not open'):
        said(TeacherCache(tmp_path), 'weak', keys([0]), never)


def _hold(folder, ready, done):
    cache = opened(folder)
    said(cache, 'weak', keys([0, 1]), lambda: logits(2))
    ready.set()
    done.wait(60)


def test_another_process_reads_what_is_there_and_writes_nothing(tmp_path):
    context = multiprocessing.get_context('fork')
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path, ready, done))
    process.start()
    assert ready.wait(60)
    cache, other = opened(tmp_path), logits(1, 5)
    assert torch.equal(said(cache, 'weak', keys([1, 0]), never), logits(2)[[1, 0]])
    assert torch.equal(said(cache, 'weak', keys([2]), lambda: other), other)
    with pytest.raises(AssertionError, match='the teacher ran'):
        said(cache, 'weak', keys([2]), never)  # it was not its to write
    said(cache, 'weak', keys([2], epoch=1), lambda: other)  # of the next pass it is the first
    assert torch.equal(said(cache, 'weak', keys([2], epoch=1), never), other)
    done.set()
    process.join(60)
    assert process.exitcode == 0


LARGE = dict(images=1, samples=60_000, writes=True)  # 24 MB: room is made in more than one piece


def _write(path, start, errors):
    try:
        row = _row(100, None, 'float32')
        file = _File(path, row, **LARGE, refuse=print)
        start.wait(60)
        file.write(np.arange(4), np.zeros((4, 1), row))
        errors.put(None)
    except BaseException as error:
        errors.put(repr(error))


def test_the_processes_of_one_run_make_room_once(tmp_path):
    context = multiprocessing.get_context('fork')
    path, start, errors = tmp_path / '0000.rows', context.Barrier(2), context.Queue()
    processes = [context.Process(target=_write, args=(path, start, errors)) for _ in range(2)]
    for process in processes:
        process.start()
    assert [errors.get(timeout=60) for _ in processes] == [None, None]
    for process in processes:
        process.join(60)
    assert path.stat().st_size == LARGE['samples'] * (4 + 4 * 100)


def test_who_reads_waits_for_no_room(tmp_path):
    """Another run makes it at this moment."""
    path = tmp_path / '0000.rows'
    path.write_bytes(bytes(1 << 20))
    file = _File(path, _row(100, None, 'float32'), **{**LARGE, 'writes': False}, refuse=print)
    assert file.read(np.array([0])) is None


@pytest.fixture
def full_disk(monkeypatch):
    """Every write to a file of rows fails as on a full disk."""
    import builtins
    import errno

    real = builtins.open

    def failing(path, mode='r', *args, **options):
        file = real(path, mode, *args, **options)
        if mode == 'ab' and str(path).endswith('.rows'):
            file.close()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return file

    monkeypatch.setattr(builtins, 'open', failing)
    return real


def test_a_full_disk_lets_the_run_go_on(tmp_path, full_disk):
    cache, rows = opened(tmp_path), logits(2)
    for epoch in (0, 1):
        for _ in range(2):
            assert torch.equal(said(cache, 'weak', keys([0, 1], epoch), lambda: rows), rows)
    assert (cache.read, cache.computed) == (0, 8)


def test_a_full_disk_stops_the_run_where_that_is_asked_for(tmp_path, full_disk):
    with pytest.raises(InputError, match=r'0000\.rows cannot grow \(No space left on device\): make room\.'):
        said(opened(tmp_path, on_full='stop'), 'weak', keys([0]), lambda: logits(1))


def test_its_size_is_held_against_the_free_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: shutil._ntuple_diskusage(100, 90, 10))
    row = 4 + 4 * CLASSES
    with pytest.raises(InputError, match='needs 0.00 GB more, and the disk has 0.00 GB: make room, or keep less'):
        opened(tmp_path, passes=3, on_full='stop')
    opened(tmp_path, passes=3).close()
    assert json.loads((tmp_path / 'cache.json').read_text())['samples'] == str(SAMPLES)
    said(opened(tmp_path), 'weak', keys([0]), lambda: logits(1))
    assert (tmp_path / 'weak' / '0000.rows').stat().st_size == row * SAMPLES


def test_rows_are_where_the_numbers_say(tmp_path):
    """A file is the plain array that the docstring describes: checksum, then logits."""
    said(opened(tmp_path), 'weak', keys([4]), lambda: logits(1))
    rows = np.fromfile(tmp_path / 'weak' / '0000.rows', np.dtype([('sum', '<u4'), ('logits', '<f4', (CLASSES,))]))
    assert rows['sum'].astype(bool).tolist() == [index == 4 for index in range(SAMPLES)]
    assert torch.equal(torch.from_numpy(rows['logits'][4].copy()), logits(1)[0])
