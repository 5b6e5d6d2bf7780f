"""The figures of a report: pure functions of arrays, drawn by matplotlib without a display.

Each gives a ``matplotlib.figure.Figure``; :func:`rendered` makes the bytes of its files.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from .history import TEACHER_NAME, Band, History, band

BASELINE, TEACHER = '#6b7280', '#111827'
_CYCLE = ('#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#8c564b', '#9467bd')
"""Okabe and Ito's colors, which people with color vision deficiencies can tell apart, and two more."""

_STYLE: dict[Any, Any] = {
    'font.size': 9,
    'font.family': 'sans-serif',
    'axes.titlesize': 9.5,
    'axes.titleweight': 'bold',
    'axes.titlelocation': 'left',
    'axes.labelsize': 9,
    'axes.edgecolor': '#9ca3af',
    'axes.labelcolor': '#374151',
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.grid': True,
    'axes.axisbelow': True,
    'grid.color': '#e5e7eb',
    'grid.linewidth': 0.7,
    'xtick.color': '#6b7280',
    'ytick.color': '#6b7280',
    'xtick.labelsize': 8,
    'ytick.labelsize': 8,
    'legend.frameon': False,
    'legend.fontsize': 8,
    'lines.linewidth': 1.6,
    'pdf.fonttype': 42,  # text stays text
    'svg.fonttype': 'none',
    'savefig.facecolor': 'white',
}
_MOST_NAMED_CLASSES = 30
_PANELS = 4  # side by side


def _styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    @wraps(draw)
    def drawn(*args, **kwargs) -> Figure:
        with matplotlib.rc_context(_STYLE):
            return draw(*args, **kwargs)

    return drawn


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure as a file; the same figure gives the same bytes.

    Args:
        figure: From a function of this module.
        kind: ``'png'`` or ``'pdf'``.
    """
    file = io.BytesIO()
    metadata = {'pdf': {'CreationDate': None}, 'png': {'Software': None}}[kind]
    with matplotlib.rc_context(_STYLE):
        figure.savefig(file, format=kind, dpi=160, metadata=metadata)
    return file.getvalue()


def row_colors(rows: Sequence[str], baseline: str | None) -> dict[str, str]:
    """A color for each row, the same in all figures; the baseline is gray."""
    others = [row for row in rows if row != baseline]
    colors = {row: _CYCLE[number % len(_CYCLE)] for number, row in enumerate(others)}
    if len(others) > len(_CYCLE):
        shades = matplotlib.colormaps['turbo'](np.linspace(0.05, 0.95, len(others)))
        colors = {row: to_hex(shade) for row, shade in zip(others, shades, strict=True)}
    return {row: BASELINE if row == baseline else colors[row] for row in rows}


@_styled
def training_curves(histories: Mapping[str, Sequence[History]], colors: Mapping[str, str], metric: str) -> Figure:
    """Training loss and a test metric over time, mean and standard deviation over the seeds of each row.

    Beside ``top1`` on the test set the same on the training images, as training sees them, is a dashed line.

    Args:
        histories: By row, one of each seed.
        colors: By row.
        metric: Of :attr:`History.test`, in percent.
    """
    figure = Figure(figsize=(9.6, 3.6), layout='constrained')
    left, right = figure.subplots(1, 2, sharex=True)
    unit, name = next(iter(histories.values()))[0].unit, metric.rsplit('/', 1)[-1]
    for row, seeds in histories.items():
        losses = [seed.train['loss'] for seed in seeds if 'loss' in seed.train]
        if losses:
            _draw_band(left, band(losses), colors[row], row)
        metrics = [seed.test[metric] for seed in seeds if metric in seed.test]
        if metrics:
            _draw_band(right, band(metrics), colors[row], row)
        trained = [seed.train[name] for seed in seeds if name in seed.train]
        if trained:
            _draw_band(right, band(trained), colors[row], None, linestyle='--')
    left.set(title='training loss, all terms', xlabel=unit, yscale='log')
    right.set(title=f'{name.replace("top", "top-")}, %: test, and training (dashed)', xlabel=unit)
    handles, labels = right.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=min(6, len(labels)))
    return figure


@_styled
def loss_terms(histories: Mapping[str, Sequence[History]]) -> Figure:
    """Each term of the loss of each row over time, and below what else its distiller says, such as its keep rates."""
    figure = Figure(layout='constrained')
    columns = min(_PANELS, len(histories))
    statistics = {row: _names(seeds, loss=False) for row, seeds in histories.items()}
    blocks = [dict(list(histories.items())[at : at + columns]) for at in range(0, len(histories), columns)]
    lines = [(block, loss) for block in blocks for loss in (True, False) if loss or any(statistics[r] for r in block)]
    figure.set_size_inches(3.1 * columns + 0.3, 2.6 * len(lines))
    grid = figure.subplots(len(lines), columns, squeeze=False)
    for axes_of_line, (block, loss) in zip(grid, lines, strict=True):
        for axes in axes_of_line[len(block) :]:
            axes.set_axis_off()
        for axes, (row, seeds) in zip(axes_of_line, block.items(), strict=False):
            names = _names(seeds, loss=True) if loss else statistics[row]
            if not names:
                axes.set_axis_off()
                continue
            for number, name in enumerate(names):
                own = band([seed.train[name] for seed in seeds if name in seed.train])
                _draw_band(axes, own, _CYCLE[number % len(_CYCLE)], name)
            axes.set(title=row if loss else '', xlabel=seeds[0].unit)
            if not loss and all(name.startswith('keep') for name in names):
                axes.set_ylim(-0.03, 1.03)
            axes.legend()
        axes_of_line[0].set_ylabel('weighted term' if loss else 'statistic')
    return figure


def _names(seeds: Sequence[History], loss: bool) -> list[str]:
    names = dict.fromkeys(name for seed in seeds for name in seed.train if ('loss' in name) == loss)
    return [name for name in names if name not in ('loss', 'top1')] or (['loss'] if loss and 'loss' in names else [])


def _draw_band(axes: Axes, own: Band, color: str, label: str | None, linestyle: str = '-') -> None:
    marker = 'o' if len(own.steps) < 3 else None
    axes.plot(own.steps, own.mean, linestyle, color=color, label=label, marker=marker, markersize=3)
    if own.deviation.any():
        low, high = own.mean - own.deviation, own.mean + own.deviation
        axes.fill_between(own.steps, low, high, color=color, alpha=0.18, linewidth=0)


def embed_in_plane(features: np.ndarray, seed: int = 0) -> tuple[np.ndarray, float]:
    """t-SNE of features, and the seconds it took.

    `van der Maaten and Hinton, Visualizing Data using t-SNE, 2008
    <https://jmlr.org/papers/v9/vandermaaten08a.html>`_, as scikit-learn has it: perplexity 30, or less than a third of
    the samples where these are few; the first two principal components to begin with.

    Args:
        features: ``(n, C)``, four samples or more.
        seed: Of what is random in it.

    Returns:
        ``(n, 2)`` and seconds.
    """
    from sklearn.manifold import TSNE

    start = time.perf_counter()
    perplexity = min(30.0, (len(features) - 1) / 3)
    plane = TSNE(perplexity=perplexity, init='pca' if features.shape[1] > 1 else 'random', random_state=seed)
    return plane.fit_transform(np.ascontiguousarray(features, dtype=np.float32)), time.perf_counter() - start


@_styled
def embedding_planes(planes: Mapping[str, np.ndarray], labels: np.ndarray, classes: Sequence[str]) -> Figure:
    """Points in the plane side by side, one panel a network, colored by class.

    Args:
        planes: ``(n, 2)`` by the name of the network.
        labels: ``(n,)``, class numbers.
        classes: The class names.
    """
    columns = min(_PANELS, len(planes))
    lines = -(-len(planes) // columns)
    figure = Figure(figsize=(2.75 * columns, 2.75 * lines + 0.5), layout='constrained')
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    shown = np.unique(labels)
    palette = matplotlib.colormaps['tab10' if len(shown) <= 10 else 'tab20' if len(shown) <= 20 else 'gist_rainbow']
    shades = palette(np.arange(len(shown))) if len(shown) <= 20 else palette(np.linspace(0, 1, len(shown)))
    for axes, (name, plane) in zip(grid, planes.items(), strict=False):
        for number, shade in zip(shown, shades, strict=True):
            own = plane[labels == number]
            axes.scatter(*own.T, s=7, color=shade, linewidths=0, alpha=0.85, label=classes[number])
        axes.set(title=name, xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[['top', 'right']].set_visible(True)
    for axes in grid[len(planes) :]:
        axes.set_axis_off()
    if len(shown) <= 20:
        handles, names = grid[0].get_legend_handles_labels()
        figure.legend(handles, names, loc='outside lower center', ncols=10, markerscale=2, handletextpad=0.1)
    return figure


@_styled
def similarity_maps(teacher: np.ndarray, students: Mapping[str, np.ndarray]) -> Figure:
    """Class-wise similarity of the teacher and of students, and below how far each student's is from the teacher's.

    Args:
        teacher: ``(K, K)``, from -1 to 1, as :func:`crld_zoo.evaluation.functional.class_similarity` gives it.
        students: The same of each row.
    """
    differences = {row: np.abs(own - teacher) for row, own in students.items()}
    highest = max(float(np.nanmax(own)) for own in differences.values())
    columns = 1 + len(students)
    figure = Figure(figsize=(2.45 * columns + 0.7, 5.1), layout='constrained')
    grid = figure.subplots(2, columns, squeeze=False)
    upper, lower = [], []
    for axes, (name, own) in zip(grid[0], {TEACHER_NAME: teacher, **students}.items(), strict=True):
        upper.append(axes.imshow(own, cmap='RdBu_r', vmin=-1, vmax=1, interpolation='nearest'))
        axes.set_title(name)
    for axes, own in zip(grid[1, 1:], differences.values(), strict=True):
        lower.append(axes.imshow(own, cmap='magma_r', vmin=0, vmax=highest, interpolation='nearest'))
        axes.set_title(f'|difference|, mean {np.nanmean(own):.3f}', fontweight='normal')
    grid[1, 0].set_axis_off()
    for axes in grid.ravel():
        axes.grid(False)
        axes.set(xticks=[], yticks=[])
    figure.colorbar(upper[-1], ax=grid[0], shrink=0.85, pad=0.01)
    figure.colorbar(lower[-1], ax=grid[1], shrink=0.85, pad=0.01)
    return figure


@_styled
def reliability_diagrams(bins: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Accuracy over confidence, one panel a network, with the share of the samples below.

    Args:
        bins: By name, the counts, hits and sums of confidences that
            :func:`crld_zoo.evaluation.functional.calibration_bins` gives, each ``(bins,)``.
    """
    columns = min(_PANELS, len(bins))
    lines = -(-len(bins) // columns)
    figure = Figure(figsize=(2.75 * columns, 3.5 * lines), layout='constrained')
    ratios = [3, 1] * lines
    grid = figure.subplots(2 * lines, columns, squeeze=False, sharex=True, height_ratios=ratios)
    panels = [
        (grid[2 * line, column], grid[2 * line + 1, column]) for line in range(lines) for column in range(columns)
    ]
    for (upper, lower), (name, (count, hits, sums)) in zip(panels, bins.items(), strict=False):
        number = len(count)
        edges, width, full = np.arange(number) / number, 1 / number, count > 0
        accuracy, confidence = (np.divide(part, count, out=np.zeros(number), where=full) for part in (hits, sums))
        options = dict(width=width, align='edge', linewidth=0.5, edgecolor='white')
        upper.bar(edges, np.minimum(accuracy, confidence), color='#0072b2', **options)
        for name_of_gap, gap, bottom, color in (
            ('too sure', confidence - accuracy, accuracy, '#f2b18a'),
            ('not sure enough', accuracy - confidence, confidence, '#99d8c4'),
        ):
            own = full & (gap > 0)
            upper.bar(edges[own], gap[own], bottom=bottom[own], color=color, label=name_of_gap, **options)
        upper.plot([0, 1], [0, 1], color='#374151', linewidth=0.9, linestyle='--')
        error = np.abs(hits - sums).sum() / count.sum()
        upper.text(0.04, 0.95, f'ECE {100 * error:.1f} %', transform=upper.transAxes, va='top')
        upper.set(title=name, xlim=(0, 1), ylim=(0, 1.02))
        lower.bar(edges, count / count.sum(), color='#9ca3af', **options)
        lower.set(xlabel='confidence', ylim=(0, None))
    for upper, lower in panels[len(bins) :]:
        upper.set_axis_off()
        lower.set_axis_off()
    for line in range(lines):
        grid[2 * line, 0].set_ylabel('accuracy')
        grid[2 * line + 1, 0].set_ylabel('share')
    grid[0, 0].legend(loc='center left', handlelength=1)
    return figure


@_styled
def view_confidence(views: Mapping[str, np.ndarray], thresholds: Mapping[str, float]) -> Figure:
    """How sure the teacher is of each view, and what a threshold would keep.

    Args:
        views: Highest probability of each image by view, ``(n,)``.
        thresholds: By view, the one that a distiller uses, where one does.
    """
    figure = Figure(figsize=(9.6, 3.1), layout='constrained')
    left, right = figure.subplots(1, 2)
    edges = np.linspace(0, 1, 41)
    for number, (view, confidence) in enumerate(views.items()):
        color = _CYCLE[number % len(_CYCLE)]
        weights = np.full(len(confidence), 100 / len(confidence))
        left.hist(confidence, edges, weights=weights, color=color, alpha=0.55, label=view)
        ordered = np.sort(confidence)
        right.step(
            np.concatenate([[0], ordered, [1]]),
            np.concatenate([[100], 100 - 100 * np.arange(len(ordered)) / len(ordered), [0]]),
            where='pre',
            color=color,
            label=view,
        )
        if view in thresholds:
            threshold = thresholds[view]
            kept = 100 * float((confidence >= threshold).mean())
            right.axvline(threshold, color=color, linewidth=0.9, linestyle='--')
            right.plot(
                [threshold], [kept], 'o', color=color, markersize=5, label=f'{view} ≥ {threshold:g}: {kept:.1f} %'
            )
    left.set(title='images, %', xlabel="teacher's confidence", xlim=(0, 1))
    right.set(title='kept, %, by a threshold', xlabel='threshold', xlim=(0, 1), ylim=(0, 103))
    left.legend(loc='upper left')
    right.legend(loc='lower left')
    return figure


@_styled
def class_differences(
    differences: Mapping[str, np.ndarray], classes: Sequence[str], colors: Mapping[str, str]
) -> Figure:
    """Each class's accuracy less that of the baseline, in points, one line a row, the classes in one order.

    Args:
        differences: By row, ``(K,)``; NaN where a class has no image.
        classes: The class names.
        colors: By row.
    """
    count = len(classes)
    order = np.argsort(np.nan_to_num(np.mean(list(differences.values()), axis=0)), kind='stable')
    named = count <= _MOST_NAMED_CLASSES
    figure = Figure(figsize=(9.6, 1.7 * len(differences) + (0.9 if named else 0.4)), layout='constrained')
    grid = figure.subplots(len(differences), 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for axes, (row, own) in zip(grid, differences.items(), strict=True):
        values = own[order]
        axes.bar(np.arange(count), values, width=0.8 if named else 1.0, color=colors[row])
        axes.axhline(0, color='#374151', linewidth=0.8)
        better, worse = int((own > 0).sum()), int((own < 0).sum())
        axes.set_title(f'{row}: better in {better} classes, worse in {worse}')
        axes.set_ylabel('points')
        axes.margins(x=0.01)
    if named:
        names = [classes[number] for number in order]
        turned = max(map(len, names)) > 4
        grid[-1].set_xticks(np.arange(count), names, rotation=45 if turned else 0, ha='right' if turned else 'center')
        for axes in grid:
            axes.grid(axis='x', visible=False)
    else:
        grid[-1].set_xlabel(f'the {count} classes, in the order of the mean difference')
    return figure
