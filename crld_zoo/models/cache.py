"""A teacher's logits, kept: every run that sees the same views reads them instead of running the teacher."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import mmap
import os
import shutil
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
import torch
from mmengine.dist import barrier, broadcast_object_list, is_main_process
from mmengine.logging import print_log
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.files import NO_ROOM, lock, write_atomically
from crld_zoo.views import SampleKeys

_FORMAT = 1
_DESCRIPTION = 'cache.json'
_DTYPES = ('float32', 'float16')


class TeacherCache:
    """Keeps a teacher's logits by pass over the data, sample and view, in a folder that runs share.

    A view is a function of the sample's key (:mod:`crld_zoo.views.keys`), so what the teacher says of it is the same in
    every run with the same views and the same seed of the data, whatever the method, the student or the seed of its
    first weights. With ``dtype='float32'`` a run that reads trains to the same bits as one that computes, at the same
    batch size, with the same views, on the same kind of device, with the same number of threads: what a library's
    kernels round may depend on how many images they get at once.

    There is one file for each view and pass, a row for each sample, and a checksum in each row: what a killed run has
    written is used, what it has torn is made again. The first process that comes to a file writes it; others read what
    is there already and compute the rest for themselves.

    Args:
        folder: Where the files are. It belongs to one teacher, one set of views and one seed.
        dtype: ``'float32'``; ``'float16'`` halves the room and rounds the logits to 11 bits.
        top_k: Keep the highest logits alone. The other classes share what is left of the probability at temperature 1
            equally, so soft labels at a higher temperature lose what they say of those classes.
        on_full: What a full disk does: ``'continue'`` goes on without keeping more, with a warning; ``'stop'`` ends the
            run with an error.

    Raises:
        InputError: An option is impossible.

    Example:
        >>> import tempfile
        >>> keys = SampleKeys(seed=0, epoch=0, samples=torch.tensor([1, 0]), copies=torch.tensor([0, 0]))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = TeacherCache(folder)
        ...     cache.open(samples=2, classes=3, decides=dict(teacher='a digest'), views=dict(weak='[]'))
        ...     first = cache.find('weak', keys)
        ...     kept = cache.keep('weak', keys, torch.tensor([[1., 2., 3.], [4., 5., 6.]]))
        ...     again = cache.find('weak', keys)
        ...     cache.close()
        >>> first is None, torch.equal(kept, again)
        (True, True)
    """

    def __init__(
        self, folder: str | Path, dtype: str = 'float32', top_k: int | None = None, on_full: str = 'continue'
    ) -> None:
        if dtype not in _DTYPES:
            raise InputError(f"the teacher's cache: dtype must be one of {', '.join(_DTYPES)}, not {dtype!r}.")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise InputError(f"the teacher's cache: top_k must be a whole number from 1 on or None, not {top_k!r}.")
        if on_full not in ('continue', 'stop'):
            raise InputError(f"the teacher's cache: on_full must be 'continue' or 'stop', not {on_full!r}.")
        self.folder, self.dtype, self.top_k, self.on_full = Path(folder), dtype, top_k, on_full
        self.read = self.computed = 0
        self._opened: np.dtype | None = None
        self._samples = 0
        self._images: dict[str, int] = {}
        self._files: dict[str, tuple[int, _File]] = {}
        self._locks: dict[str, IO[str]] = {}
        self._pending: deque = deque()
        self._full = False

    def open(
        self,
        samples: int,
        classes: int,
        decides: Mapping[str, str],
        views: Mapping[str, str],
        images: Mapping[str, int] | None = None,
        passes: int | None = None,
    ) -> None:
        """Take the folder into use.

        Args:
            samples: How many numbers the samples of the data can have.
            classes: How many logits there are.
            decides: What decides the logits, by name: the teacher, the data, the seed, …
            views: The definition of each view that the teacher sees.
            images: How many images of each sample a view holds, where it is not one.
            passes: How many passes there will be; None where nobody knows.

        Raises:
            InputError: The folder holds the logits of something else; there is no room and ``on_full='stop'``.
        """
        if self.top_k is not None and self.top_k >= classes:
            raise InputError(f"the teacher's cache: top_k={self.top_k} of {classes} classes; leave it out to keep all.")
        self.close()
        self._samples, self._classes = samples, classes
        self._images = {view: (images or {}).get(view, 1) for view in views}
        stored = dict(dtype=self.dtype, top_k='all' if self.top_k is None else str(self.top_k))
        sizes = dict(samples=str(samples), classes=str(classes), format=str(_FORMAT))
        descriptions = {self.folder / _DESCRIPTION: {**decides, **stored, **sizes}}
        for view, definition in views.items():
            descriptions[self.folder / view / _DESCRIPTION] = dict(view=definition)
        if is_main_process():
            for path, description in descriptions.items():
                if not path.exists():
                    write_atomically(json.dumps(description, indent=1).encode(), path)
        barrier()
        for path, description in descriptions.items():
            _compare(path, description)
        self._opened = _row(classes, self.top_k, self.dtype)
        if passes is not None and is_main_process():
            self._weigh(passes)

    def find(self, view: str, keys: SampleKeys) -> Tensor | None:
        """What is kept of a view.

        Args:
            view: Its name.
            keys: Of the batch's ``N`` samples.

        Returns:
            The logits ``(N * m, K)``, for ``m`` images of each sample, on the device of the keys; None unless all are
            kept.
        """
        rows = self._file(view, keys.epoch).read(self._place(keys))
        if rows is None:
            return None
        self.read += len(keys.samples)
        return self._unpack(rows).to(keys.samples.device, non_blocking=True)

    def keep(self, view: str, keys: SampleKeys, logits: Tensor) -> Tensor:
        """Keep what the teacher says of a view.

        Args:
            view: Its name.
            keys: Of the batch's ``N`` samples.
            logits: ``(N * m, K)``, in fp32.

        Returns:
            What :meth:`find` will give: the logits, rounded or cut as they are kept.
        """
        place, file = self._place(keys), self._file(view, keys.epoch)
        self.computed += len(place)
        if file.writes:
            if logits.device.type != 'cpu':  # written at the next call, when the copy has long arrived
                kept, event = logits.to('cpu', non_blocking=True), torch.cuda.Event()
                event.record()
                self._write_pending()
                self._pending.append((event, file, place, kept))
            else:
                file.write(place, self._pack(logits, len(place)))
        if self.dtype != 'float32' or self.top_k is not None:
            return self._unpack(self._pack(logits.cpu(), len(place))).to(logits.device)
        return logits

    @property
    def _row(self) -> np.dtype:
        if self._opened is None:
            raise InputError("the teacher's cache is not open: TeacherCacheHook opens it, or call its open().")
        return self._opened

    def close(self) -> None:
        """Write what is left and let go of the files."""
        self._write_pending()
        for _, file in self._files.values():
            file.close()
        self._files.clear()
        for held in self._locks.values():
            held.close()
        self._locks.clear()

    def _place(self, keys: SampleKeys) -> np.ndarray:
        samples, copies = (
            (part.cpu().numpy() for part in (keys.samples, keys.copies)) if keys.host is None else keys.host
        )
        return samples + copies * self._samples

    def _file(self, view: str, epoch: int) -> _File:
        opened = self._files.get(view)
        if opened is not None and opened[0] == epoch:
            return opened[1]
        row = self._row
        self._write_pending()
        if opened is not None:
            opened[1].close()
        path = self.folder / view / f'{epoch:04d}.rows'
        file = _File(path, row, self._images[view], self._samples, self._may_write(view, epoch), self._refuse)
        self._files[view] = epoch, file
        return file

    def _may_write(self, view: str, epoch: int) -> bool:
        """Whether this run is the first to come to a file; all its processes write it together."""
        answer = [False]
        if is_main_process() and not self._full:
            before = self._locks.pop(view, None)
            if before is not None:
                before.close()
            file = self._locks[view] = open(self.folder / view / '.lock', 'a+')  # noqa: SIM115
            try:
                lock(file, epoch)
                answer = [True]
            except (BlockingIOError, PermissionError):
                pass
            except OSError as error:  # torn rows are told by their checksums
                print_log(f'{self.folder} cannot be locked ({error.strerror})', logger='current', level=logging.WARNING)
                answer = [True]
        broadcast_object_list(answer)
        return answer[0]

    def _write_pending(self) -> None:
        while self._pending:
            event, file, place, logits = self._pending.popleft()
            event.synchronize()
            file.write(place, self._pack(logits, len(place)))

    def _pack(self, logits: Tensor, samples: int) -> np.ndarray:
        """Rows ``(N, m)`` of logits ``(N * m, K)``."""
        logits = logits.detach().float()
        rows = np.zeros(len(logits), self._row)
        if self.top_k is None:
            rows['logits'] = logits.numpy()
        else:
            top, index = logits.topk(self.top_k)
            rows['logits'], rows['classes'] = top.numpy(), index.numpy()
            others = logits.scatter(1, index, -math.inf).logsumexp(1) - math.log(self._classes - self.top_k)
            rows['others'] = others.numpy()
        return rows.reshape(samples, -1)

    def _unpack(self, rows: np.ndarray) -> Tensor:
        rows = rows.reshape(-1)
        kept = torch.from_numpy(rows['logits'].astype(np.float32))
        if self.top_k is not None:
            others = torch.from_numpy(rows['others'].copy()).unsqueeze(1).expand(-1, self._classes)
            kept = others.scatter(1, torch.from_numpy(rows['classes'].astype(np.int64)), kept)
        return kept.pin_memory() if torch.cuda.is_initialized() else kept

    def _weigh(self, passes: int) -> None:
        """Say how much room the whole run takes, and hold it against what is free."""
        whole = sum(_File.size(self._row, images, self._samples) for images in self._images.values()) * passes
        there = sum(file.stat().st_size for view in self._images for file in (self.folder / view).glob('*.rows'))
        needed, free = max(0, whole - there), shutil.disk_usage(self.folder).free
        print_log(
            f"the teacher's cache {self.folder}: {whole / 1e9:.2f} GB for {passes} passes of {len(self._images)} "
            f'views, {there / 1e9:.2f} GB there already',
            logger='current',
        )
        if needed > free:
            self._refuse(
                f"the teacher's cache {self.folder} needs {needed / 1e9:.2f} GB more, and the disk has "
                f"{free / 1e9:.2f} GB: make room, or keep less (dtype='float16', top_k=…, train_cfg.views_period=…)",
                for_good=False,
            )

    def _refuse(self, reason: str, for_good: bool = True) -> None:
        if self.on_full == 'stop':
            raise InputError(f'{reason}.')
        self._full = self._full or for_good
        print_log(f'{reason}; the run goes on', logger='current', level=logging.WARNING)


class _File:
    """The rows of one view in one pass: memory-mapped, each with its checksum before it."""

    def __init__(
        self, path: Path, row: np.dtype, images: int, samples: int, writes: bool, refuse: Callable[[str], None]
    ) -> None:
        self.path, self.writes = path, writes
        self._row, self._images, self._samples, self._refuse = row, images, samples, refuse
        self._length = 4 + images * row.itemsize
        self._map: mmap.mmap | None = None
        self._rows = np.empty((0, self._length), np.uint8)
        self._told = False
        self._reopen()

    @staticmethod
    def size(row: np.dtype, images: int, samples: int) -> int:
        return (4 + images * row.itemsize) * samples

    def read(self, place: np.ndarray) -> np.ndarray | None:
        """Rows ``(N, m)``, or None if any is not there."""
        if place.max() >= len(self._rows) and not self.writes:
            self._reopen()  # another process may have made it since
        if place.max() >= len(self._rows):
            return None
        rows = self._rows[place]
        sums = rows[:, :4].copy().view('<u4')[:, 0]
        if not sums.all():
            return None
        if any(_checksum(row) != int(value) for row, value in zip(rows[:, 4:], sums, strict=True)):
            if self.writes and not self._told:  # else it is being written at this moment
                self._told = True
                print_log(f'{self.path} has torn rows, which are made again', logger='current', level=logging.WARNING)
            return None
        return np.ascontiguousarray(rows[:, 4:]).view(self._row)

    def write(self, place: np.ndarray, rows: np.ndarray) -> None:
        """Keep rows ``(N, m)``."""
        if self.writes and place.max() >= len(self._rows):
            self._make_room(int(place.max()) // self._samples + 1)
        if not self.writes:  # the disk is full
            return
        data = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
        sums = np.array([_checksum(row) for row in data], dtype='<u4')
        self._rows[place] = np.concatenate([sums.view(np.uint8).reshape(-1, 4), data], 1)

    def close(self) -> None:
        """Let go of the map."""
        self._rows = np.empty((0, self._length), np.uint8)
        self._map = None  # closed when the last array of it is gone

    def _make_room(self, copies: int) -> None:
        """Room for so many copies of each sample, all of it on the disk now: a full one would kill a later write."""
        block = self._samples * self._length
        length = copies * block
        try:
            with self._alone() as file:
                there = file.seek(0, os.SEEK_END)
                if there % block:
                    print_log(
                        f"{self.path} of the teacher's cache is torn: it has {there} bytes, no multiple of {block}; "
                        'what is whole in it is used, the rest is made again',
                        logger='current',
                        level=logging.WARNING,
                    )
                try:
                    missing = length - there
                    while missing > 0:
                        missing -= file.write(bytes(min(missing, 1 << 24)))
                    os.fsync(file.fileno())
                except OSError:
                    file.truncate(there)
                    raise
        except OSError as error:
            remedy = 'make room' if error.errno in NO_ROOM else 'see to this folder'
            self.writes = False
            self._refuse(f"the teacher's cache {self.path} cannot grow ({error.strerror}): {remedy}")
        self._reopen()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[IO]:
        """The file, to append to; the run's other processes, which write it too, wait meanwhile."""
        with open(self.path, 'ab', buffering=0) as file:
            with contextlib.suppress(OSError):  # without locks they make more room than is needed, at worst
                lock(file, 0, wait=True)
            yield file

    def _reopen(self) -> None:
        size, block = self.path.stat().st_size if self.path.exists() else 0, self._samples * self._length
        if size % block and self.writes:  # another process of the run makes room, or was killed while it did
            return self._make_room(size // block + 1)
        if size < block:  # who reads may come while there is no room yet
            return
        with open(self.path, 'r+b' if self.writes else 'rb') as file:
            access = mmap.ACCESS_WRITE if self.writes else mmap.ACCESS_READ
            self._map = mmap.mmap(file.fileno(), size // block * block, access=access)
        self._rows = np.frombuffer(self._map, np.uint8).reshape(-1, self._length)


def _row(classes: int, top_k: int | None, dtype: str) -> np.dtype:
    """What is kept of one image."""
    kind = np.dtype(dtype).newbyteorder('<')
    if top_k is None:
        return np.dtype([('logits', kind, (classes,))])
    return np.dtype([('logits', kind, (top_k,)), ('classes', '<u4', (top_k,)), ('others', '<f4')])


def _checksum(row: np.ndarray) -> int:
    return zlib.crc32(row.data) or 1  # 0 is a row that is not there


def _compare(path: Path, description: Mapping[str, str]) -> None:
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f'{path} is no description of a cache ({error}): remove {path.parent}.') from None
    differing = [name for name in {**found, **description} if found.get(name) != description.get(name)]
    if differing:
        differences = '; '.join(
            f'{name}: {_short(found.get(name))} there, {_short(description.get(name))} here' for name in differing
        )
        raise InputError(
            f"{path.parent} keeps a teacher's logits of something else ({differences}): name another folder "
            '(model.teacher.cache), or remove this one.'
        )


def _short(value: str | None, length: int = 120) -> str:
    """A value, or a part of it with a digest that tells it from others."""
    if value is None or len(value) <= length:
        return 'nothing' if value is None else value
    return f'{value[:length]}… ({hashlib.blake2b(value.encode(), digest_size=4).hexdigest()})'
