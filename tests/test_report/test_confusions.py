"""Confusions are counted as a loop counts them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from crld_zoo.report.confusions import class_accuracy, confusion_changes


@pytest.fixture
def answers():
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 4, 60)
    before, after = (
        np.where(draw.random((seeds, 60)) < 0.5, labels, draw.integers(0, 4, (seeds, 60))) for seeds in (3, 2)
    )
    return before, after, labels


def test_the_changes_are_those_of_a_loop(answers):
    before, after, labels = answers
    changes = confusion_changes(before, after, labels, classes=4, pairs=20, images=100)
    counts = []
    for predicted in (before, after):
        count = Counter()
        for seed in predicted:
            count.update((t, p) for t, p in zip(labels.tolist(), seed.tolist(), strict=True) if t != p)
        counts.append({pair: count[pair] / len(predicted) for pair in count})
    pairs = {pair for count in counts for pair in count}
    expected = {pair: (counts[0].get(pair, 0), counts[1].get(pair, 0)) for pair in pairs}
    expected = {pair: both for pair, both in expected.items() if both[0] != both[1]}
    assert {(c.true, c.taken_for): (c.before, c.after) for c in changes} == expected
    sizes = [abs(change.after - change.before) for change in changes]
    assert sizes == sorted(sizes, reverse=True)


def test_the_images_are_of_the_class_and_changed_with_the_pair(answers):
    before, after, labels = answers
    for change in confusion_changes(before, after, labels, classes=4, pairs=20, images=100):
        shares = [(predicted == change.taken_for).mean(0) for predicted in (before, after)]
        moved = (shares[1] - shares[0]) * np.sign(change.after - change.before)
        assert change.images, 'a pair that changed has an image'
        assert (labels[list(change.images)] == change.true).all()
        assert (moved[list(change.images)] > 0).all()
        assert len(change.images) == (moved[labels == change.true] > 0).sum()


def test_equal_answers_change_nothing(answers):
    before, _, labels = answers
    assert confusion_changes(before, before, labels, classes=4, pairs=5, images=5) == []


def test_class_accuracy_is_the_mean_over_the_seeds(answers):
    before, _, labels = answers
    expected = [100 * np.mean([(seed[labels == k] == k).mean() for seed in before]) for k in range(4)]
    np.testing.assert_allclose(class_accuracy(before, labels, 5)[:4], expected)
    assert np.isnan(class_accuracy(before, labels, 5)[4])
