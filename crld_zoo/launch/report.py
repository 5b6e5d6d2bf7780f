"""Draw a report of trained runs: figures as PNG and PDF, and one page that needs no other file."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.engine.publish import BEST_STUDENT, STUDENT_CONFIG
from crld_zoo.engine.randomness import seeded_loader
from crld_zoo.errors import InputError, MissingFileError, UnknownNameError, nearest_names
from crld_zoo.evaluation.functional import calibration_bins, class_similarity, measure
from crld_zoo.registry import DATASETS, DISTILLERS
from crld_zoo.report.history import TEACHER_NAME
from crld_zoo.version import __version__

from .compare_file import flat_config, read_record
from .compare_run import images_per_second
from .config import teacher_of
from .extras import required
from .profile import size_of
from .student import Student, build_teacher, load_student, log_to_stderr

PAIRS, IMAGES_A_PAIR, CLASSES_SHOWN = 8, 6, 20
BINS = 15
_SAME_RUN = (
    'randomness',
    'train_cfg.data_seed',
    'work_dir',
    'experiment_name',
    'launcher',
    'resume',
    'load_from',
    'log_level',
    'visualizer',
    'default_hooks.logger',
    'model.teacher.cache',
)


class Folder(NamedTuple):
    """Where a run is, and the row and seed that it belongs to."""

    row: str
    path: Path


def find_runs(places: Sequence[str | Path]) -> tuple[list[Folder], list[str]]:
    """The runs that are named, and all in folders that hold runs, as ``tools/compare.py`` leaves them.

    The row of ``<row>/seed_<n>`` is ``<row>``, of any other folder its own name (``teacher (a run)`` for ``teacher``).

    Returns:
        The runs, and a sentence for each run inside a folder that has no finished epoch and is left out.

    Raises:
        MissingFileError: A place is not there.
        InputError: It is no run and holds none; a named run has no finished epoch; a run is named twice.
    """
    found, left_out = {}, []
    for place in map(Path, places):
        if not place.is_dir():
            raise MissingFileError(f'there is no run {place}: name the work directory of a training.')
        own = [place] if _is_run(place) else _runs_below(place)
        if not own:
            raise InputError(
                f'{place} is no run and holds none (a run has a config and a log): name work directories of '
                'tools/train.py, or a folder of them.'
            )
        for path in own:
            if path.resolve() in found:
                raise InputError(f'the run {path} is named twice: name it once.')
            if not any(path.glob('*.pth')):
                reason = f'{path} has no finished epoch'
                if path == place:
                    raise InputError(f'{reason}: let the training end its first one, or leave the run out.')
                left_out.append(f'{reason}: it is left out.')
                continue
            row = path.resolve().parent.name if re.fullmatch(r'seed_\d+', path.resolve().name) else path.resolve().name
            row = (
                'teacher (a run)' if row == TEACHER_NAME else row
            )  # which is what the page calls the network that teaches
            found[path.resolve()] = Folder(row, path)
    if not found:
        raise InputError(f'no run in {", ".join(map(str, places))} has a finished epoch: let one end its first.')
    return list(found.values()), left_out


def _is_run(path: Path) -> bool:
    return any(file.name != STUDENT_CONFIG for file in path.glob('*.py')) and any(path.glob('*/vis_data'))


def _runs_below(place: Path) -> list[Path]:
    first = [path for path in sorted(place.iterdir()) if path.is_dir()]
    second = [
        below
        for path in first
        if not _is_run(path)
        for below in sorted(path.iterdir(), key=_natural)
        if below.is_dir() and _is_run(below)
    ]
    return [path for path in first if _is_run(path)] + second


def _natural(path: Path) -> list:
    return [int(part) if part.isdigit() else part for part in re.split(r'(\d+)', path.name)]


class _Tested(NamedTuple):
    """A student and what it says of the test set."""

    student: Student
    folder: Folder
    logits: Tensor
    seconds: float


def run_report(
    places: Sequence[str | Path],
    out: str | Path,
    *,
    baseline: str | None = None,
    samples: int = 1000,
    device: str | None = None,
) -> Path:
    """Draw a report of runs.

    Args:
        places: Work directories of ``tools/train.py``, or folders of them; runs of one row name are its seeds.
        out: The folder that the page and the figures go to.
        baseline: The name of the row that the others are held against; None takes the first without a teacher, or else
            the first.
        samples: How many test images t-SNE shows, and in how many training images the teacher's confidence is measured.
        device: Where the networks run; None takes a GPU where there is one.

    Returns:
        The page, ``index.html``.

    Raises:
        InputError: matplotlib or scikit-learn are missing; runs on different test sets; runs of one row that are no
            seeds of one config; what :func:`find_runs` refuses.
    """
    required('matplotlib', 'report')
    required('sklearn', 'report')
    from crld_zoo.report import page
    from crld_zoo.report.confusions import confusion_changes
    from crld_zoo.report.figures import embed_in_plane

    if samples < 4:
        raise InputError(f'--samples must be 4 or more, not {samples}: t-SNE needs neighbors.')
    folders, notes = find_runs(places)
    seconds = dict.fromkeys(('test set', 'teacher', 'embeddings', 't-SNE'), 0.0)
    students = [load_student(folder.path, 'last', device) for folder in folders]
    rows = _rows(folders, students)
    if baseline is not None and baseline not in rows:
        raise UnknownNameError(f"there is no row '{baseline}' ({nearest_names(baseline, rows)}).")
    lead = baseline or next((row for row, own in rows.items() if not teacher_of(own[0][1].config)), next(iter(rows)))

    test = _TestSet()
    tested: dict[Path, Tensor] = {}
    with _Clock(seconds, 'test set'):
        for folder, student in zip(folders, students, strict=True):
            _say(f'{folder.path}: {student.checkpoint.name} on the test set')
            tested[folder.path] = test.run(folder.path, student, student.logits)
    teachers = _Teachers(test, notes, device)
    with _Clock(seconds, 'teacher'):
        for student in students:
            teachers.add(student)
    subset = _subset(test.labels.numpy(), samples)
    count = len(test.classes)

    made: list[page.Row] = []
    predicted: dict[str, np.ndarray] = {}
    for row, own in rows.items():
        runs = []
        for folder, student in own:
            logits = tested[folder.path]
            teacher = teachers.logits(student)
            with _Clock(seconds, 'test set'):
                runs.append(_run(folder, student, logits, teacher, test))
            notes += _unfinished(runs[-1], row)
        first = own[0][1]
        with _Clock(seconds, 'embeddings'):
            embedding = _embedding(first, subset, test.split, notes, row)
        plane = None
        if embedding is not None:
            _say(f'{row}: t-SNE of {len(subset):,} embeddings')
            plane, needed = embed_in_plane(embedding)
            seconds['t-SNE'] += needed
        predicted[row] = np.stack([run.predicted for run in runs])
        similarity = class_similarity(tested[own[0][0].path]).numpy()
        made.append(page.Row(row, runs, similarity, teachers.similarity(first), plane))
    labels = test.labels.numpy()
    made = [
        row
        if row.name == lead
        else row._replace(
            changes=confusion_changes(
                predicted[lead], predicted[row.name], labels, classes=count, pairs=PAIRS, images=IMAGES_A_PAIR
            )
        )
        for row in made
    ]
    wanted = sorted({number for row in made for change in row.changes for number in change.images})
    images = _images(students[0], wanted, test.split)
    with _Clock(seconds, 'embeddings'):
        embedding = teachers.embedding(subset)
    plane = None
    if embedding is not None:
        plane, needed = embed_in_plane(embedding)
        seconds['t-SNE'] += needed
    with _Clock(seconds, 'teacher'):
        confidence = teachers.confidence(samples)
    report = page.Report(
        data=test.name,
        classes=test.classes,
        labels=labels,
        rows=made,
        baseline=lead,
        teacher=teachers.measured(),
        teacher_bins=teachers.bins(),
        teacher_plane=plane,
        subset_labels=labels[subset],
        confidence=confidence,
        thresholds=_thresholds(students),
        images=images,
        seconds=seconds,
        notes=list(dict.fromkeys(notes)),
        version=__version__,
    )
    return page.write_report(report, out)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class _Clock:
    """Adds the seconds of a block to a name."""

    def __init__(self, seconds: dict[str, float], name: str) -> None:
        self.seconds, self.name = seconds, name

    def __enter__(self) -> None:
        self.start = time.perf_counter()

    def __exit__(self, *_) -> None:
        self.seconds[self.name] += time.perf_counter() - self.start


def _rows(folders: Sequence[Folder], students: Sequence[Student]) -> dict[str, list[tuple[Folder, Student]]]:
    """The runs by row, the seeds in their order.

    Raises:
        InputError: Two runs of a row have one seed, or differ in more than the seed.
    """
    rows: dict[str, list[tuple[Folder, Student]]] = {}
    for folder, student in zip(folders, students, strict=True):
        rows.setdefault(folder.row, []).append((folder, student))
    for row, own in rows.items():
        own.sort(key=lambda pair: _seed(pair[1].config))
        (first, reference), *others = own
        for at, (folder, student) in enumerate(others):
            if _seed(student.config) == _seed(own[at][1].config):
                raise InputError(
                    f'{own[at][0].path} and {folder.path} are both seed {_seed(student.config)} of the row {row}: '
                    'leave one out, or rename its folder.'
                )
            differ = sorted(
                key
                for key, value in (
                    flat_config(reference.config.to_dict()).items() ^ flat_config(student.config.to_dict()).items()
                )
                if not key.startswith(_SAME_RUN)
            )
            if differ:
                raise InputError(
                    f'{first.path} and {folder.path} have one name and so are seeds of one row, but they differ in '
                    f'{", ".join(dict.fromkeys(differ))}: rename one of the folders.'
                )
    return rows


def _bins(confidence: Tensor, right: Tensor) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    count, hits, sums = (part.numpy() for part in calibration_bins(confidence, right, bins=BINS))
    return count, hits, sums


def _seed(cfg: Config) -> int:
    return int((cfg.get('randomness') or {}).get('seed') or 0)


class _TestSet:
    """The test set that all runs share.

    Attributes:
        split: ``'test'``, or ``'val'`` where the first run has no test set.
        classes: Names.
        labels: ``(M,)``.
        name: How the page calls it.
    """

    def __init__(self) -> None:
        self.first: Path | None = None
        self._digests: dict[tuple[int, ...], tuple[str, Path]] = {}

    def run(self, folder: Path, student: Student, network, check: bool = True) -> Tensor:
        """What a function of uint8 RGB ``(N, H, W, 3)`` gives for each test image, on the CPU.

        Raises:
            InputError: The run is tested on other images than those before.
        """
        if self.first is None:
            self.split = 'val' if student.config.get('test_dataloader') is None else 'test'
        parts, labels, digest = [], [], hashlib.sha256()
        for images, own in student.held_out(split=self.split):
            parts.append(network(images).cpu())
            labels.append(own)
            if check:
                digest.update(images.contiguous().numpy().tobytes())
        if check:
            self._check(folder, student, torch.cat(labels), digest.hexdigest())
        return torch.cat(parts)

    def _check(self, folder: Path, student: Student, labels: Tensor, digest: str) -> None:
        if self.first is None:
            dataset = student.config[f'{self.split}_dataloader'].dataset
            self.first, self.classes, self.labels = folder, student.classes, labels
            self.name = str(dataset.get('type')).rsplit('.', 1)[-1]
        reason = None
        seen, other = self._digests.setdefault(tuple(student.size), (digest, folder))
        if self.classes != student.classes:
            reason, other = f'{len(self.classes)} and {len(student.classes)} classes, or other names', self.first
        elif len(self.labels) != len(labels):
            reason, other = f'{len(self.labels):,} and {len(labels):,} images', self.first
        elif not torch.equal(self.labels, labels):
            reason, other = 'other labels, or another order', self.first
        elif seen != digest:
            reason = 'as many images, but others'
        if reason:
            raise InputError(
                f'{other} and {folder} have different test sets ({reason}), so nothing can be compared: report on them '
                'apart.'
            )


def _run(folder: Folder, student: Student, logits: Tensor, teacher: Tensor | None, test: _TestSet):
    """All that a page says of one run."""
    from crld_zoo.report import page
    from crld_zoo.report.history import environment, read_history

    loop = student.config.get('train_cfg') or {}
    by_epoch = not str(loop.get('type')).startswith('Iter')
    done = _progress(student, by_epoch)
    last = measure(logits, teacher, test.labels, bins=BINS)
    best = None
    if (folder.path / BEST_STUDENT).is_file() or any(folder.path.glob('best_*.pth')):
        other = load_student(folder.path, 'best', str(next(student.network.parameters()).device))
        same = _progress(other, by_epoch) == done
        best = last if same else measure(test.run(folder.path, other, other.logits), teacher, test.labels, bins=BINS)
    confidence, predicted = logits.double().softmax(1).max(1)
    return page.Run(
        seed=_seed(student.config),
        folder=str(folder.path),
        done=done,
        planned=int(loop.get('max_epochs' if by_epoch else 'max_iters') or done),
        config=student.config.pretty_text,
        environment=environment(folder.path),
        history=read_history(folder.path, 'epoch' if by_epoch else 'iteration'),
        last=last,
        best=best,
        best_on_test=student.chosen_on_test,
        costs=dict(
            seconds=(read_record(folder.path) or {}).get('seconds'),
            images_per_second=images_per_second(folder.path),
            **size_of(student),
        ),
        predicted=predicted.numpy(),
        bins=_bins(confidence, predicted == test.labels),
    )


def _progress(student: Student, by_epoch: bool) -> int:
    """Epochs or iterations behind a checkpoint."""
    meta = read_checkpoint(student.checkpoint, verify=False).get('meta') or {}
    return int(meta.get('epoch' if by_epoch else 'iter') or 0)


def _unfinished(run, row: str) -> list[str]:
    if run.done >= run.planned:
        return []
    return [f'{row}, seed {run.seed}, stands at {run.history.unit} {run.done} of {run.planned}.']


def _subset(labels: np.ndarray, samples: int) -> np.ndarray:
    """Numbers of test images, spread evenly over at most :data:`CLASSES_SHOWN` classes, which are spread evenly."""
    classes = np.unique(labels)
    chosen = classes[np.linspace(0, len(classes) - 1, min(CLASSES_SHOWN, len(classes))).round().astype(int)]
    of_them = np.flatnonzero(np.isin(labels, chosen))
    return of_them[np.unique(np.linspace(0, len(of_them) - 1, min(samples, len(of_them))).round().astype(int))]


def _embedding(student: Student, subset: np.ndarray, split: str, notes: list[str], row: str) -> np.ndarray | None:
    from crld_zoo.networks import Taps

    parts, taps = [], None
    with torch.no_grad():
        for images, _ in student.held_out(subset.tolist(), split):
            inputs = student.normalize(images)
            try:
                taps = taps or Taps(student.network, ['embedding'], inputs[:2])
            except InputError as error:  # a network whose logits no linear layer gives
                notes.append(f'{row} is not among the embeddings: {error}')
                return None
            parts.append(
                taps.run(lambda own: student.network(own, mode='tensor'), inputs)[1]['embedding'].float().cpu()
            )
    return torch.cat(parts).numpy()


def _images(student: Student, numbers: Sequence[int], split: str) -> dict[int, np.ndarray]:
    if not numbers:
        return {}
    images = torch.cat([images for images, _ in student.held_out(list(numbers), split)])
    return dict(zip(numbers, images.numpy(), strict=True))


class _Teachers:
    """The teachers of all runs, each built and run once.

    The first one is the teacher of the runs that have none.
    """

    def __init__(self, test: _TestSet, notes: list[str], device: str | None) -> None:
        self.test, self.notes, self.device = test, notes, device
        self._found: dict[str, tuple[Student, nn.Module, Tensor, np.ndarray]] = {}

    def add(self, student: Student) -> None:
        """Build and run the teacher of a run, if it is a new one."""
        config = teacher_of(student.config)
        key = self._key(student)
        if config is None or key in self._found:
            return
        try:
            teacher = build_teacher(config, student)
        except MissingFileError as error:
            self.notes.append(f'A teacher is not there, and what it would say is left out: {error}')
            return
        _say(f'{getattr(teacher, "name", "the teacher")} on the test set')
        with torch.no_grad():
            probe = student.normalize(next(iter(student.held_out([0, 1], self.test.split)))[0])
            try:
                teacher.tap(['embedding'], probe)
            except InputError as error:
                self.notes.append(f'The teacher is not among the embeddings: {error}')
            logits = self.test.run(
                Path(), student, lambda images: teacher(student.normalize(images)).float(), check=False
            )
        self._found[key] = (student, teacher, logits, class_similarity(logits).numpy())
        if len(self._found) == 2:
            self.notes.append(
                'The runs have several teachers: each row is held against its own; the figures named “teacher” show '
                'the first.'
            )

    def logits(self, student: Student) -> Tensor | None:
        """Of the teacher of a run, ``(M, K)``."""
        found = self._of(student)
        return None if found is None else found[2]

    def similarity(self, student: Student) -> np.ndarray | None:
        """Class-wise, of the teacher of a run, ``(K, K)``."""
        found = self._of(student)
        return None if found is None else found[3]

    def measured(self) -> dict | None:
        """What is measured of the first."""
        return None if not self._found else measure(self._first[2], None, self.test.labels, bins=BINS)

    def bins(self) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
        """The reliability of the first."""
        if not self._found:
            return None
        confidence, predicted = self._first[2].double().softmax(1).max(1)
        return _bins(confidence, predicted == self.test.labels)

    @torch.no_grad()
    def embedding(self, subset: np.ndarray) -> np.ndarray | None:
        """Of the first, ``(n, C)``; None where it has none."""
        if not self._found:
            return None
        student, teacher = self._first[:2]
        parts = [
            teacher.extract(student.normalize(images))[1].get('embedding')
            for images, _ in student.held_out(subset.tolist(), self.test.split)
        ]
        return None if parts[0] is None else torch.cat(parts).float().cpu().numpy()

    @torch.no_grad()
    def confidence(self, samples: int) -> dict[str, np.ndarray]:
        """Highest probability of the first in each view of training images, as they are in the first epoch."""
        if not self._found:
            return {}
        student, teacher = self._first[:2]
        cfg = student.config
        preprocessor: Any = student.preprocessor
        loader = seeded_loader(dict(cfg.train_dataloader), attach=getattr(preprocessor, 'takes_keys', False))
        try:
            with DefaultScope.overwrite_default_scope('crld_zoo'):
                dataset = DATASETS.build(loader['dataset'])
                numbers = np.unique(np.linspace(0, len(dataset) - 1, min(samples, len(dataset))).round().astype(int))
                loader |= dict(dataset=dataset, sampler=numbers.tolist(), num_workers=0, persistent_workers=False)
                loader['batch_sampler'] = dict(loader['batch_sampler'], batches=None, drop_last=False)
                loader.pop('prefetch_factor', None)
                batches = Runner.build_dataloader(loader)
        except FileNotFoundError as error:
            self.notes.append(f"The training set is not there, so the teacher's confidence is left out: {error}")
            return {}
        data_seed = (cfg.get('train_cfg') or {}).get('data_seed')
        batches.batch_sampler.place(_seed(cfg) if data_seed is None else data_seed, epoch=0)
        needed, preprocessor.needed_views = getattr(preprocessor, 'needed_views', None), None
        found: dict[str, list[Tensor]] = {}
        for batch in batches:
            views = preprocessor(batch, True)['inputs']
            for name, images in (views if isinstance(views, Mapping) else {'training': views}).items():
                found.setdefault(name, []).append(teacher(images).float().softmax(1).amax(1).cpu())
        preprocessor.needed_views = needed
        order = getattr(preprocessor, 'view_names', ())
        names = sorted(found, key=lambda name: order.index(name) if name in order else len(order))
        return {name: torch.cat(found[name]).numpy() for name in names}

    @property
    def _first(self) -> tuple[Student, Any, Tensor, np.ndarray]:
        return next(iter(self._found.values()))

    def _of(self, student: Student) -> tuple[Student, nn.Module, Tensor, np.ndarray] | None:
        if teacher_of(student.config) is None:
            return self._first if self._found else None
        return self._found.get(self._key(student))

    def _key(self, student: Student) -> str:
        return json.dumps([teacher_of(student.config), list(student.size)], sort_keys=True, default=repr)


def _thresholds(students: Sequence[Student]) -> dict[str, float]:
    """From which confidence on a view of the teacher counts, in the first distiller that says so."""
    for student in students:
        with DefaultScope.overwrite_default_scope('crld_zoo'):
            distiller = DISTILLERS.build(student.config.model.distiller.to_dict())
        taus = {view: getattr(distiller, f'tau_{view[0]}', None) for view in distiller.views}  # CRLD's names
        found = {view: tau for view, tau in taus.items() if tau is not None}
        if found:
            return found
    return {}


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``report``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'runs',
        nargs='+',
        metavar='RUN',
        help='work directories of trainings, or folders of them; <row>/seed_<n> are seeds',
    )
    parser.add_argument('-o', '--out', required=True, metavar='FOLDER', help='where index.html and figures/ go')
    parser.add_argument('--baseline', metavar='ROW', help='held against (default: the first row without a teacher)')
    parser.add_argument(
        '--samples',
        type=int,
        default=1000,
        help="test images that t-SNE shows, and training images for the teacher's confidence (default: 1000)",
    )
    parser.add_argument('--device', help='where the networks run (default: a GPU where there is one)')
    args = parser.parse_args(argv)
    log_to_stderr()
    print(run_report(args.runs, args.out, baseline=args.baseline, samples=args.samples, device=args.device))
