"""One run of a comparison, in a process of its own: train, then measure the last and the best student."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.config_files import read_config
from crld_zoo.engine.preemption import stopping_in_order
from crld_zoo.errors import InputError
from crld_zoo.evaluation.functional import measure
from crld_zoo.files import write_atomically
from crld_zoo.report.history import read_history

from .compare_file import CONFIG_FILE, RESULTS_FILE, RUN_RECORD, read_record, write_json
from .guard import main_guard
from .profile import size_of
from .student import Student, build_teacher, load_student
from .train import run_train

TEACHERS = '.teachers'
"""Folder beside the rows: what their teachers say of the test set."""


def run_one(folder: str | Path) -> dict:
    """Train what the folder of a run asks for, from where it stands, and measure it.

    Args:
        folder: With what :func:`~crld_zoo.launch.compare_file.write_record` wrote.

    Returns:
        What was measured, see :func:`measure_run`; it is in the folder's ``results.json`` as well.
    """
    folder = Path(folder)
    with _counting_seconds(folder):
        run_train(folder / CONFIG_FILE, work_dir=folder, resume=True)
    with stopping_in_order():
        results = measure_run(folder)
        write_json(results, folder / RESULTS_FILE)
    return results


def measure_run(folder: Path) -> dict:
    """What a table says of a finished run.

    Returns:
        ``row``, ``seed``, ``recipe``, ``epochs``; of the last checkpoint and of the best one, as ``last_…`` and
        ``best_…``, the measures of :func:`crld_zoo.evaluation.measure` on the test set; ``best_epoch``, and whether the
        best epoch was ``best_on_test``, chosen on the test set itself; ``parameters``; ``flops`` of one image;
        ``seconds`` of training with its validations; ``images_per_second`` of its training steps; ``loss_first`` and
        ``loss_last``, the whole training loss in the first and in the last entry of its logs.

    Raises:
        InputError: There is no finished epoch.
    """
    record = _record_of(folder)
    results = dict(row=record['row'], seed=record['seed'], recipe=record['recipe'])
    hooks = read_config(folder / CONFIG_FILE).get('default_hooks') or {}
    for kind in ('last', 'best') if (hooks.get('checkpoint') or {}).get('save_best') else ('last',):
        student = load_student(folder, kind)
        logits, labels = student.outputs(split='test')
        if kind == 'last':
            teacher = teacher_logits(record['teacher'], student, labels, folder.parents[1] / TEACHERS)
        measured = measure(logits, teacher, labels)
        measured['per_class'] = [None if math.isnan(value) else value for value in measured['per_class']]
        results |= {f'{kind}_{name}': value for name, value in measured.items()}
        epoch = read_checkpoint(student.checkpoint, verify=False)['meta'].get('epoch')
        results['epochs' if kind == 'last' else 'best_epoch'] = epoch
    losses = read_history(folder, 'iteration').train['loss'][1].tolist()
    return results | dict(
        best_on_test=student.chosen_on_test,
        **size_of(student),
        seconds=record['seconds'],
        images_per_second=images_per_second(folder),
        loss_first=losses[0],
        loss_last=losses[-1],
        work_dir=str(folder),
    )


def images_per_second(folder: Path) -> float | None:
    """The mean speed of a run's training steps, as its logs have it; each entry counts the same number of images."""
    speeds = []
    for path in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in path.read_text(encoding='utf-8').splitlines():
            with contextlib.suppress(ValueError):  # a line that a kill tore
                speeds.append(json.loads(line).get('images_per_second'))
    speeds = [speed for speed in speeds if speed]
    return len(speeds) / sum(1 / speed for speed in speeds) if speeds else None


@torch.inference_mode()
def teacher_logits(config: dict | str | None, student: Student, labels: Tensor, folder: Path) -> Tensor | None:
    """What a teacher says of the images that a student is tested on, computed once for all runs.

    Args:
        config: The teacher's; None gives None.
        student: Brings the images, and normalizes them.
        labels: Of the images.
        folder: Where the answers are kept.

    Returns:
        Logits ``(M, K)``.
    """
    if config is None:
        return None
    teacher = build_teacher(config, student)
    digest = hashlib.sha256(
        f'{teacher.fingerprint()} {student.normalization} {student.config.test_dataloader}'.encode()
    )
    digest.update(labels.numpy().tobytes())
    path = folder / f'{digest.hexdigest()[:32]}.pth'
    with contextlib.suppress(InputError):  # not there, or damaged: computed again
        return read_checkpoint(path)['logits']
    logits = torch.cat(
        [teacher(student.normalize(images)).float().cpu() for images, _ in student.held_out(split='test')]
    )
    buffer = io.BytesIO()
    torch.save(dict(logits=logits), buffer)
    write_atomically(buffer.getvalue(), path)
    return logits


def _record_of(folder: Path) -> dict:
    record = read_record(folder)
    if record is None:
        raise InputError(f'{folder} is no folder of a comparison: it has no {RUN_RECORD}.')
    return record


@contextlib.contextmanager
def _counting_seconds(folder: Path) -> Iterator[None]:
    """Add to the record of a run how long it trained, to its end or until it was told to stop."""
    start = time.perf_counter()
    try:
        yield
    except InputError:  # another process trains in this folder, perhaps, and the record is its own
        raise
    except BaseException:
        _add_seconds(folder, time.perf_counter() - start)
        raise
    _add_seconds(folder, time.perf_counter() - start)


def _add_seconds(folder: Path, seconds: float) -> None:
    record = _record_of(folder)
    write_json(record | dict(seconds=record['seconds'] + seconds), folder / RUN_RECORD)


if __name__ == '__main__':
    main_guard(run_one)(sys.argv[1])
