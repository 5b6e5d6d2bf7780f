"""The report of some runs: its figures as files and one page that holds everything."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from crld_zoo.files import write_atomically

from . import figures, markup
from .confusions import Change, class_accuracy
from .history import TEACHER_NAME, History
from .markup import Cell, Section
from .statistics import Difference
from .table import KINDS, Summary, summarize

_MEASURES = {  # of crld_zoo.evaluation.measure: title, factor, digits, whether larger is better
    'top1': ('top-1 %', 1, 2, True),
    'top5': ('top-5 %', 1, 2, True),
    'ece': ('ECE %', 100, 2, False),
    'nll': ('NLL', 1, 3, False),
    'agreement': ('agrees %', 1, 2, True),
    'kl': ('KL', 1, 3, False),
}
_COSTS = {
    'parameters': ('parameters', 1, 0, False),
    'flops': ('MFLOPs', 1e-6, 1, False),
    'images_per_second': ('images/s', 1, 0, True),
    'seconds': ('seconds', 1, 0, False),
}
_STUDENTS_A_MAP = 4  # columns beside the teacher's that a page can show


class Run(NamedTuple):
    """One run, as far as its folder and its answers on the test set tell.

    Attributes:
        seed: Of the run.
        folder: Its work directory.
        done: Epochs (or iterations) that the last checkpoint has behind it.
        planned: How many its config asks for.
        config: The text of its config.
        environment: The text of its environment, '' where none was logged.
        history: Its curves.
        last: What :func:`crld_zoo.evaluation.measure` gives of the last checkpoint.
        best: The same of the best one, None where none was kept.
        best_on_test: Whether the best was chosen on the test set itself.
        costs: ``seconds`` and ``images_per_second`` of the training, ``parameters``, ``flops`` of one image; None where
            unknown.
        predicted: The classes that the last checkpoint gives, ``(M,)``.
        bins: Its reliability, as :func:`crld_zoo.evaluation.functional.calibration_bins` gives it, arrays.
    """

    seed: int
    folder: str
    done: int
    planned: int
    config: str
    environment: str
    history: History
    last: Mapping
    best: Mapping | None
    best_on_test: bool
    costs: Mapping
    predicted: np.ndarray
    bins: tuple[np.ndarray, np.ndarray, np.ndarray]


class Row(NamedTuple):
    """The runs of one name: its seeds.

    Attributes:
        name: How the table calls it.
        runs: One for each seed.
        similarity: Class-wise, of the first seed, ``(K, K)``.
        teacher_similarity: The same of its teacher, None where it has none.
        plane: t-SNE of the first seed's embeddings of the subset, ``(n, 2)``, None where it has none.
        changes: Its confusions against the baseline; none for the baseline.
    """

    name: str
    runs: Sequence[Run]
    similarity: np.ndarray
    teacher_similarity: np.ndarray | None
    plane: np.ndarray | None
    changes: Sequence[Change] = ()


class Report(NamedTuple):
    """What a page is made of.

    Attributes:
        data: How the test set is called.
        classes: Names, ``K``.
        labels: True classes of the test set, ``(M,)``.
        rows: In the order of the table.
        baseline: The name of the row that the others are held against.
        teacher: What :func:`crld_zoo.evaluation.measure` gives of the teacher, None where there is none.
        teacher_bins: Its reliability.
        teacher_plane: t-SNE of its embeddings of the subset.
        subset_labels: True classes of that subset, ``(n,)``.
        confidence: Of the teacher in training images by view, ``(m,)`` each; {} where there is none.
        thresholds: The ones that a row uses, by view.
        images: uint8 ``(H, W, 3)`` by the number of the test image; those that the confusions name.
        seconds: What took how long.
        notes: What a reader has to know: what is missing and why.
        version: Of the zoo.
    """

    data: str
    classes: Sequence[str]
    labels: np.ndarray
    rows: Sequence[Row]
    baseline: str
    teacher: Mapping | None
    teacher_bins: tuple[np.ndarray, np.ndarray, np.ndarray] | None
    teacher_plane: np.ndarray | None
    subset_labels: np.ndarray
    confidence: Mapping[str, np.ndarray]
    thresholds: Mapping[str, float]
    images: Mapping[int, np.ndarray]
    seconds: Mapping[str, float]
    notes: Sequence[str]
    version: str


def write_report(report: Report, folder: str | Path) -> Path:
    """Write ``index.html`` and ``figures/*.png`` and ``.pdf``; the page is written last and needs no other file.

    Returns:
        The page.

    Raises:
        InputError: The folder cannot be written.
    """
    drawn: dict[str, Figure] = {}
    sections = [
        section
        for make in (_table, _curves, _terms, _classes, _confusions, _reliability, _planes, _similarity, _confidence)
        if (section := make(report, drawn)) is not None
    ]
    files = {(name, kind): figures.rendered(own, kind) for name, own in drawn.items() for kind in ('png', 'pdf')}
    pngs = {name: data for (name, kind), data in files.items() if kind == 'png'}
    sections = [
        section._replace(body=section.body(pngs) if callable(section.body) else section.body) for section in sections
    ]
    text = markup.page(
        f'Distillation report: {report.data}',
        _lead(report),
        [*sections, Section('Runs', 'runs', _runs(report))],
        f'Made by crld_zoo {report.version}. Seconds: '
        + ', '.join(f'{name} {seconds:.1f}' for name, seconds in report.seconds.items()),
    )
    folder = Path(folder)
    for (name, kind), data in files.items():
        write_atomically(data, folder / 'figures' / f'{name}.{kind}')
    path = folder / 'index.html'
    write_atomically(text.encode(), path)
    return path


# Each function below adds figures and gives a section whose body is made once the figures are files.


def _lead(report: Report) -> str:
    runs = sum(len(row.runs) for row in report.rows)
    text = (
        f'{runs} runs in {len(report.rows)} rows on {len(report.labels):,} test images of {len(report.classes)} '
        f'classes. The baseline is {report.baseline}. Bands and ± are one standard deviation over the seeds of a row.'
    )
    return markup.paragraph(text) + ''.join(map(markup.note, report.notes))


def _table(report: Report, drawn: dict) -> Section:
    html = (
        '<h3>Last epoch</h3>'
        + markup.paragraph(
            f'Click a title to sort. “− {report.baseline}” is the difference of the top-1 at equal seeds with half of '
            'its 95 % interval (Student’s t). “Agrees” and KL (teacher to student, nats) are with the row’s teacher, '
            'or the first of the others where it has none.'
        )
        + _measures(report, 'last')
    )
    if any(run.best for row in report.rows for run in row.runs):
        on_test = any(run.best_on_test for row in report.rows for run in row.runs)
        text = 'Each run at its best epoch, chosen on the test set itself: it flatters.'
        text = text if on_test else 'Each run at its best epoch, chosen on a validation set.'
        html += '<h3>Best epoch</h3>' + markup.paragraph(text) + _measures(report, 'best')
    text = 'Of one image, a multiplication and an addition are two; seconds and images/s are those of the training.'
    html += '<h3>Cost</h3>' + markup.paragraph(text) + _costs(report)
    return Section('Results', 'results', lambda pngs: html)


def _summaries(report: Report) -> dict[str, Summary]:
    results = [
        dict(
            {f'{kind}_{name}': value for kind in KINDS for name, value in (getattr(run, kind) or {}).items()},
            **run.costs,
            row=row.name,
            seed=run.seed,
        )
        for row in report.rows
        for run in row.runs
    ]
    references = {row.name: report.baseline for row in report.rows if row.name != report.baseline}
    return {summary.row: summary for summary in summarize(results, references)}


def _measures(report: Report, kind: str) -> str:
    summaries = _summaries(report)
    names = [name for name in _MEASURES if any(f'{kind}_{name}' in own.values for own in summaries.values())]
    compared = len(report.rows) > 1
    columns = [('row', False), ('seeds', True), (f'{report.rows[0].runs[0].history.unit}s', True)]
    measured = len(columns)
    columns += [(_MEASURES[name][0], _MEASURES[name][3]) for name in names]
    lines = []
    for row in report.rows:
        done = sorted({run.done for run in row.runs})
        shown = ' to '.join(str(number) for number in dict.fromkeys((done[0], done[-1])))
        line = [Cell(row.name, row.name), Cell(str(len(row.runs)), len(row.runs)), Cell(shown, done[-1])]
        means = summaries[row.name].values
        lines.append(line + [_mean_cell(means.get(f'{kind}_{name}'), _MEASURES[name]) for name in names])
    for column, (_, larger) in enumerate(columns[measured:], measured):
        values = [value for line in lines if isinstance(value := line[column].value, float)]
        if len(values) > 1:
            best = max(values) if larger else min(values)
            for line in lines:
                line[column] = line[column]._replace(best=line[column].value == best)
    if report.teacher is not None and kind == 'last':
        of_teacher = [
            _mean_cell((report.teacher[name], None) if name in report.teacher else None, _MEASURES[name])
            for name in names
        ]
        lines.append([Cell(TEACHER_NAME, TEACHER_NAME), Cell('-', None), Cell('-', None), *of_teacher])
    if compared:  # after the accuracy that it is a difference of
        columns.insert(measured + 1, (f'− {report.baseline}', True))
        for line in lines:
            own = summaries.get(line[0].text)
            line.insert(measured + 1, _difference_cell(own and own.differences.get(f'{kind}_top1'), own))
    return markup.table(columns, lines)


def _costs(report: Report) -> str:
    summaries = _summaries(report)
    names = [name for name in _COSTS if any(name in own.values for own in summaries.values())]
    lines = [
        [Cell(row, row), *(_mean_cell(_constant(own.values.get(name)), _COSTS[name]) for name in names)]
        for row, own in summaries.items()
    ]
    return markup.table([('row', False), *((_COSTS[name][0], _COSTS[name][3]) for name in names)], lines)


def _constant(value: tuple[float, float | None] | None) -> tuple[float, float | None] | None:
    return (value[0], None) if value and value[1] == 0 else value


def _mean_cell(value: tuple[float, float | None] | None, form: tuple[str, float, int, bool]) -> Cell:
    if value is None:
        return Cell('-', None)
    (mean, deviation), (_, factor, digits, _) = value, form
    margin = '' if deviation is None else f' ± {factor * deviation:,.{digits}f}'
    return Cell(f'{factor * mean:,.{digits}f}{margin}', factor * mean)


def _difference_cell(difference: Difference | None, own: Summary | None) -> Cell:
    if difference is None or own is None:
        return Cell('-', None)
    margin = '' if difference.margin is None else f' ± {difference.margin:.2f}'
    fewer = f' ({difference.seeds} seeds)' if difference.seeds < own.seeds else ''
    return Cell(f'{difference.mean:+.2f}{margin}{fewer}', difference.mean)


def _colors(report: Report) -> dict[str, str]:
    return figures.row_colors([row.name for row in report.rows], report.baseline)


def _histories(report: Report) -> dict[str, list[History]]:
    return {row.name: [run.history for run in row.runs] for row in report.rows}


def _curves(report: Report, drawn: dict) -> Section | None:
    metrics = dict.fromkeys(name for row in report.rows for run in row.runs for name in run.history.test)
    metric = next((name for name in metrics if name.endswith('top1')), None)
    if metric is None:
        return None
    drawn['curves'] = figures.training_curves(_histories(report), _colors(report), metric)
    return Section(
        'Training and test curves',
        'curves',
        lambda pngs: markup.figure(
            'curves',
            pngs['curves'],
            f'Training loss and test {metric} over time of {", ".join(_colors(report))}',
            'Left: the sum of all terms of each method on a logarithmic axis; methods weigh different terms, so its '
            'level says nothing between rows. Right: what each run measured on its validation set while it trained; '
            'dashed, its accuracy on the labels of the training views, in the training mode of the network.',
        ),
    )


def _terms(report: Report, drawn: dict) -> Section | None:
    histories = {row: seeds for row, seeds in _histories(report).items() if any(seed.train for seed in seeds)}
    if not histories:
        return None
    drawn['terms'] = figures.loss_terms(histories)
    return Section(
        'Loss terms and keep rates',
        'terms',
        lambda pngs: markup.figure(
            'terms',
            pngs['terms'],
            f'Loss terms and statistics over time of {", ".join(histories)}',
            'The terms as they are summed, with their weights. Below, where a distiller says more: for CRLD the share '
            'of images whose teacher is sure enough of the view.',
        ),
    )


def _classes(report: Report, drawn: dict) -> Section | None:
    count = len(report.classes)
    accuracy = {
        row.name: class_accuracy([run.predicted for run in row.runs], report.labels, count) for row in report.rows
    }
    differences = {name: own - accuracy[report.baseline] for name, own in accuracy.items() if name != report.baseline}
    if not differences:
        return None
    drawn['classes'] = figures.class_differences(differences, report.classes, _colors(report))
    columns = [('class', False), ('images', True), (report.baseline, True)]
    columns += [part for name in differences for part in ((name, True), ('difference', True))]
    images = np.bincount(report.labels, minlength=count)
    lines = []
    for number, name in enumerate(report.classes):
        line = [Cell(name, name), Cell(str(images[number]), int(images[number]))]
        line.append(_percent(accuracy[report.baseline][number]))
        for row, own in differences.items():
            line += [_percent(accuracy[row][number]), _percent(own[number], '+')]
        lines.append(line)
    return Section(
        f'Classes against {report.baseline}',
        'classes',
        lambda pngs: (
            markup.figure(
                'classes',
                pngs['classes'],
                f'Difference of each class’s accuracy to {report.baseline}',
                f'Accuracy of each class less that of {report.baseline}, means over the seeds, last epoch.',
            )
            + f'<details><summary>All classes as a table</summary>{markup.table(columns, lines)}</details>'
        ),
    )


def _percent(value: float, sign: str = '') -> Cell:
    return Cell('-', None) if np.isnan(value) else Cell(f'{value:{sign}.1f}', float(value))


def _confusions(report: Report, drawn: dict) -> Section | None:
    parts = []
    for row in report.rows:
        if row.changes:
            pairs = ''.join(_pair(report, change) for change in row.changes)
            parts.append(f'<h3>{escape(row.name)}</h3><div class="pairs">{pairs}</div>')
    if not parts:
        return None
    text = markup.paragraph(
        f'The confusions whose number changed most against {report.baseline} (means over the seeds, last epoch), and '
        'the test images in which it shows most.'
    )
    return Section('Confusions that changed', 'confusions', lambda pngs: text + ''.join(parts))


def _pair(report: Report, change: Change) -> str:
    true, taken = report.classes[change.true], report.classes[change.taken_for]
    kind = 'fewer' if change.after < change.before else 'more'
    images = ''.join(
        markup.picture(_png(report.images[number]), f'test image {number}, a {true}', 48) for number in change.images
    )
    return (
        f'<div class="pair"><b>{escape(true)}</b> taken for <b>{escape(taken)}</b>: {change.before:.1f} → '
        f'<span class="{kind}">{change.after:.1f}</span><div>{images}</div></div>'
    )


def _png(image: np.ndarray) -> bytes:
    picture, file = Image.fromarray(image), io.BytesIO()
    if max(picture.size) > 128:
        picture.thumbnail((128, 128))
    picture.save(file, 'PNG')
    return file.getvalue()


def _reliability(report: Report, drawn: dict) -> Section:
    bins = {} if report.teacher_bins is None else {TEACHER_NAME: report.teacher_bins}
    for row in report.rows:
        count, hits, sums = (np.sum(parts, axis=0) for parts in zip(*(run.bins for run in row.runs), strict=True))
        bins[row.name] = count, hits, sums
    drawn['reliability'] = figures.reliability_diagrams(bins)
    return Section(
        'Reliability',
        'reliability',
        lambda pngs: markup.figure(
            'reliability',
            pngs['reliability'],
            f'Reliability diagrams of {", ".join(bins)}',
            'Accuracy over confidence, all seeds of a row pooled, last epoch; no temperature was fitted. A bar under '
            'the dashed line is overconfident. The ECE of the pooled answers differs a little from the seeds’ mean.',
        ),
    )


def _planes(report: Report, drawn: dict) -> Section | None:
    planes = {} if report.teacher_plane is None else {TEACHER_NAME: report.teacher_plane}
    planes |= {row.name: row.plane for row in report.rows if row.plane is not None}
    if not planes:
        return None
    drawn['embeddings'] = figures.embedding_planes(planes, report.subset_labels, report.classes)
    shown = len(np.unique(report.subset_labels))
    return Section(
        'Embeddings',
        'embeddings',
        lambda pngs: markup.figure(
            'embeddings',
            pngs['embeddings'],
            f't-SNE of the embeddings of {", ".join(planes)}',
            f't-SNE of what enters the last layer, first seed of each row: {len(report.subset_labels):,} test images '
            f'of {shown} of the {len(report.classes)} classes, spread evenly; {report.seconds["t-SNE"]:.1f} seconds.',
        ),
    )


def _similarity(report: Report, drawn: dict) -> Section | None:
    groups: list[list[Row]] = []
    for row in report.rows:  # side by side with the same teacher
        if row.teacher_similarity is None:
            continue
        for group in groups:
            if group[0].teacher_similarity is row.teacher_similarity and len(group) < _STUDENTS_A_MAP:
                group.append(row)
                break
        else:
            groups.append([row])
    if not groups:
        return None
    names = [f'similarity_{number}' if len(groups) > 1 else 'similarity' for number in range(1, len(groups) + 1)]
    for name, group in zip(names, groups, strict=True):
        students = {row.name: row.similarity for row in group}
        drawn[name] = figures.similarity_maps(group[0].teacher_similarity, students)
    return Section(
        'Class-wise similarity',
        'similarity',
        lambda pngs: ''.join(
            markup.figure(
                name,
                pngs[name],
                f'Class-wise similarity of the teacher and of {", ".join(row.name for row in group)}',
                'Correlation of the logits of each two classes over the test set, first seed of each row, and how far '
                'the student’s is from the teacher’s: the paler, the more of what the teacher knows of alike classes '
                'was learned.',
            )
            for name, group in zip(names, groups, strict=True)
        ),
    )


def _confidence(report: Report, drawn: dict) -> Section | None:
    if not report.confidence:
        return None
    drawn['confidence'] = figures.view_confidence(report.confidence, report.thresholds)
    count = len(next(iter(report.confidence.values())))
    return Section(
        'Teacher’s confidence',
        'confidence',
        lambda pngs: markup.figure(
            'confidence',
            pngs['confidence'],
            f'The teacher’s confidence in the views {", ".join(report.confidence)}',
            f'Highest probability in the views of {count:,} training images, as the first epoch sees them. Right: the '
            'share that a threshold keeps; dots are the thresholds that a row of this report uses.',
        ),
    )


def _runs(report: Report) -> str:
    parts = []
    for row in report.rows:
        for run in row.runs:
            unit = run.history.unit
            title = f'{row.name}, seed {run.seed}: {run.done} of {run.planned} {unit}s, {run.folder}'
            environment = run.environment or 'The run logged none.'
            parts.append(markup.details(title, ('Configuration', run.config), ('Environment', environment)))
    return markup.paragraph('Configuration and environment of every run.') + ''.join(parts)
