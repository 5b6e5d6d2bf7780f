"""Classify pictures with a trained student."""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np
import torch
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from crld_zoo.datasets.scan import describe, find_images, printable
from crld_zoo.errors import InputError, MissingFileError

from .student import Student, load_student, log_to_stderr

SKIPPED = 3
"""Exit status where some pictures could not be read; the others' answers are complete."""


class Answer(NamedTuple):
    """What a student says of one picture.

    Attributes:
        file: Its path.
        labels: Class indices, the most probable first.
        classes: Their names.
        probabilities: Likewise.
        failure: Why it could not be read, else empty.
    """

    file: str
    labels: list[int] = []
    classes: list[str] = []
    probabilities: list[float] = []
    failure: str = ''


def find_pictures(places: Sequence[str | Path]) -> list[str]:
    """The files that are named, and all images in the folders that are.

    Raises:
        MissingFileError: A place is not there.
        InputError: A folder holds no image.
    """
    found = []
    for place in places:
        if not os.path.exists(place):
            raise MissingFileError(f'there is no picture or folder {place}.')
        if not os.path.isdir(place):
            found.append(os.fspath(place))
            continue
        inside, passed = find_images([place])
        if not inside:
            raise InputError(f'the folder {place} holds no image{describe(passed)}.')
        found += [path for path, _ in inside]
    return found


def predict(
    student: Student, files: Sequence[str | Path], *, topk: int = 1, batch_size: int | None = None
) -> Iterator[Answer]:
    """Classify files, one batch after the other.

    Args:
        student: As :func:`~crld_zoo.launch.student.load_student` gives it.
        files: Paths of pictures.
        topk: How many classes are told of each.
        batch_size: Pictures of a batch; None takes that of the run's test.

    Yields:
        One answer a file, in their order; those that cannot be read say why.

    Raises:
        InputError: An impossible ``topk`` or ``batch_size``.
    """
    if not 1 <= topk <= len(student.classes):
        raise InputError(f'the top {topk} of {len(student.classes)} classes cannot be told: take 1 to as many.')
    loader = student.config.get('test_dataloader') or {}
    batch_size = loader.get('batch_size', 64) if batch_size is None else batch_size
    if batch_size < 1:
        raise InputError(f'a batch has at least 1 picture, not {batch_size}.')

    def read(file: str | Path) -> np.ndarray | str:
        try:
            return student.read(Path(file))
        except MemoryError:
            raise
        except Exception as error:  # readers raise a dozen types for damaged files
            return f'{type(error).__name__}: {str(error).splitlines()[0] if str(error) else "cannot be read"}'

    with ThreadPoolExecutor() as pool:
        for start in range(0, len(files), batch_size):
            batch = files[start : start + batch_size]
            images = list(pool.map(read, batch))
            readable = [image for image in images if not isinstance(image, str)]
            if readable:
                logits = student.logits(torch.from_numpy(np.stack(readable)))
                best = student.probabilities(logits).topk(topk)
                rows = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            for file, image in zip(batch, images, strict=True):
                name = printable(file)
                if isinstance(image, str):
                    yield Answer(name, failure=image)
                else:
                    labels, probabilities = next(rows)
                    yield Answer(name, labels, [student.classes[label] for label in labels], probabilities)


def write(answers: Sequence[Answer], form: str, out: TextIO) -> None:
    """Write answers as a ``'table'``, as ``'csv'`` (one row a picture and class) or as ``'json'``."""
    rows = [
        (answer.file, rank, *row)
        for answer in answers
        for rank, row in enumerate(zip(answer.labels, answer.classes, answer.probabilities, strict=True), 1)
    ]
    if form == 'json':
        told = [
            dict(
                file=answer.file,
                predictions=[
                    {'label': label, 'class': name, 'probability': probability}
                    for label, name, probability in zip(
                        answer.labels, answer.classes, answer.probabilities, strict=True
                    )
                ],
            )
            for answer in answers
        ]
        json.dump(told, out, indent=1)
        out.write('\n')
    elif form == 'csv':
        writer = csv.writer(out, lineterminator='\n')
        writer.writerow(('file', 'rank', 'label', 'class', 'probability'))
        writer.writerows(rows)
    else:
        table = Table('file', 'class', 'probability %')
        for file, rank, _, name, probability in rows:
            table.add_row(file if rank == 1 else '', name, f'{100 * probability:.1f}')
        Console(file=out, width=None if out.isatty() else 120).print(table)


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``predict``."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=f'Exit status: 0 all pictures were classified, {SKIPPED} some could not be read (they are named and '
        'skipped), 2 nothing was done, an error says why.',
    )
    parser.add_argument('run', metavar='RUN', help='work directory of a training, or a config (with --checkpoint)')
    parser.add_argument('pictures', nargs='*', metavar='IMAGE|FOLDER', help='pictures, or folders of them')
    parser.add_argument('--checkpoint', help="a file, 'best' or 'last' (default: the best, else the last)")
    parser.add_argument('--topk', type=int, default=1, metavar='K', help='classes told of each (default: 1)')
    parser.add_argument('--format', choices=['table', 'csv', 'json'], default='table', help='default: table')
    parser.add_argument('--out', metavar='FILE', help='write there instead of to the terminal')
    parser.add_argument('--batch-size', type=int, help="pictures a batch (default: the run's)")
    parser.add_argument(
        '--calibrate',
        action='store_true',
        help='first fit a temperature on the validation set; it is kept beside the checkpoint and used from then on',
    )
    args = parser.parse_args(argv)
    log_to_stderr()
    if not args.pictures and not args.calibrate:
        raise InputError('name pictures or folders to classify.')
    files = find_pictures(args.pictures)
    if args.out is not None:  # an answer that cannot be kept is missed before it is found
        Path(args.out).parent.mkdir(parents=True, exist_ok=True)
    student = load_student(args.run, args.checkpoint)
    if args.calibrate:
        fitted = student.calibrate()
        print(
            f'temperature {fitted["temperature"]:.3f}: ECE on the validation set {100 * fitted["before"]:.1f} % -> '
            f'{100 * fitted["after"]:.1f} %',
            file=sys.stderr,
        )
    if not files:
        return
    answers = []
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task('classifying', total=len(files))
        for answer in predict(student, files, topk=args.topk, batch_size=args.batch_size):
            answers.append(answer)
            progress.advance(task)
    whole = [answer for answer in answers if not answer.failure]
    if args.out is None:
        write(whole, args.format, sys.stdout)
    else:
        with open(args.out, 'w', encoding='utf-8') as out:
            write(whole, args.format, out)
    for answer in answers:
        if answer.failure:
            print(f'skipped {answer.file}: {answer.failure}', file=sys.stderr)
    if len(whole) < len(answers):
        print(f'{len(answers) - len(whole)} of {len(answers)} pictures could not be read', file=sys.stderr)
        raise SystemExit(SKIPPED)
