"""Figures draw the arrays that they are given."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('matplotlib', reason="the extra 'report' is not installed")

from crld_zoo.report import figures
from crld_zoo.report.history import History

STEPS = np.arange(1.0, 4.0)


def history(shift: float) -> History:
    train = {
        'loss': (STEPS, 3 + shift - STEPS / 2),
        'loss_kd': (STEPS, 1 + shift / STEPS),
        'keep_weak': (STEPS, STEPS / 4),
    }
    return History('epoch', train, {'accuracy/top1': (STEPS, 20 * STEPS + shift)})


@pytest.fixture
def histories():
    return {'CE': [history(0.0)], 'KD': [history(0.0), history(2.0)]}


def test_curves_are_means_and_bands_belong_to_several_seeds(histories):
    colors = figures.row_colors(list(histories), 'CE')
    left, right = figures.training_curves(histories, colors, 'accuracy/top1').axes
    alone, mean = right.get_lines()
    np.testing.assert_allclose(alone.get_ydata(), 20 * STEPS)
    np.testing.assert_allclose(mean.get_ydata(), 20 * STEPS + 1)
    assert len(right.collections) == len(left.collections) == 1
    assert alone.get_color() == figures.BASELINE != mean.get_color()


def test_training_accuracy_is_a_dashed_line_beside_that_of_the_test(histories):
    for seed, value in zip(histories['KD'], (30.0, 50.0), strict=True):
        seed.train['top1'] = (STEPS, np.full(3, value))
    colors = figures.row_colors(list(histories), 'CE')
    _, right = figures.training_curves(histories, colors, 'accuracy/top1').axes
    _, tested, trained = right.get_lines()
    assert (tested.get_linestyle(), trained.get_linestyle()) == ('-', '--')
    assert tested.get_color() == trained.get_color()
    np.testing.assert_allclose(trained.get_ydata(), 40)
    assert not any(line.get_label() == 'top1' for axes in figures.loss_terms(histories).axes for line in axes.lines)


def test_every_term_and_statistic_has_its_line(histories):
    panels = figures.loss_terms(histories).axes
    labels = [[line.get_label() for line in axes.get_lines()] for axes in panels]
    assert labels == [['loss_kd'], ['loss_kd'], ['keep_weak'], ['keep_weak']]


def test_reliability_bars_end_at_the_accuracy():
    count, hits, sums = np.array([0.0, 10, 10]), np.array([0.0, 3, 9]), np.array([0.0, 5, 8.5])
    upper, lower = figures.reliability_diagrams({'one': (count, hits, sums)}).axes
    tops = {}
    for bar in upper.patches:
        tops.setdefault(round(bar.get_x(), 3), []).append((round(bar.get_y(), 3), round(bar.get_height(), 3)))
    assert tops[0.333] == [(0, 0.3), (0.3, 0.2)], 'too sure: from the accuracy up to the confidence'
    assert tops[0.667] == [(0, 0.85), (0.85, 0.05)], 'not sure enough: from the confidence up to the accuracy'
    assert [text.get_text() for text in upper.texts] == ['ECE 12.5 %']
    np.testing.assert_allclose([bar.get_height() for bar in lower.patches], [0, 0.5, 0.5])


def test_similarity_shows_the_teacher_the_students_and_their_distance():
    teacher, student = np.eye(3), np.full((3, 3), 0.5)
    panels = [axes for axes in figures.similarity_maps(teacher, {'KD': student}).axes if axes.images]
    shown = [np.asarray(axes.images[0].get_array()) for axes in panels]
    np.testing.assert_allclose(shown, [teacher, student, np.full((3, 3), 0.5)])


def test_a_threshold_says_what_it_keeps():
    confidence = np.array([0.2, 0.5, 0.9, 0.95])
    _, right = figures.view_confidence({'weak': confidence}, {'weak': 0.9}).axes
    assert 'weak ≥ 0.9: 50.0 %' in [line.get_label() for line in right.get_lines()]


@pytest.mark.parametrize('classes', [3, 40])
def test_classes_stand_in_the_order_of_their_difference(classes):
    values = np.random.default_rng(0).permutation(np.arange(classes) - 1.0)
    (axes,) = figures.class_differences({'KD': values}, [f'c{k}' for k in range(classes)], {'KD': 'k'}).axes
    heights = [bar.get_height() for bar in axes.patches]
    assert heights == sorted(values)
    if classes == 3:
        assert [label.get_text() for label in axes.get_xticklabels()] == [f'c{k}' for k in np.argsort(values)]


def test_the_plane_keeps_classes_apart():
    draw = np.random.default_rng(0)
    labels = np.repeat([0, 1], 20)
    plane, seconds = figures.embed_in_plane(draw.normal(size=(40, 8)) + 20 * labels[:, None])
    assert plane.shape == (40, 2) and seconds > 0
    centers = [plane[labels == k].mean(0) for k in (0, 1)]
    spread = max(np.linalg.norm(plane[labels == k] - centers[k], axis=1).max() for k in (0, 1))
    assert np.linalg.norm(centers[0] - centers[1]) > spread
    figure = figures.embedding_planes({'teacher': plane, 'KD': plane}, labels, ['a', 'b'])
    assert [len(axes.collections) for axes in figure.axes] == [2, 2]


@pytest.mark.parametrize('rows', [2, 8, 30])
def test_rows_have_colors_of_their_own(rows):
    colors = figures.row_colors([f'r{k}' for k in range(rows)], 'r0')
    assert len(set(colors.values())) == rows


def test_a_figure_has_the_same_bytes_each_time(histories):
    one, other = figures.loss_terms(histories), figures.loss_terms(histories)
    for kind, start in (('png', b'\x89PNG'), ('pdf', b'%PDF')):
        first = figures.rendered(one, kind)
        assert first.startswith(start)
        assert first == figures.rendered(other, kind)
