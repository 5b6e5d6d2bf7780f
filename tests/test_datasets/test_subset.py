"""Class-balanced subsets: a property of the images, not of their order nor of any generator."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from crld_zoo.datasets import Digits, InMemoryDataset, SyntheticImages, balanced_subset
from crld_zoo.errors import InputError

LABELS = np.array([0] * 10 + [1] * 20 + [2] * 30)
KEYS = [f'image {index}'.encode() for index in range(60)]
CLASSES = ['a', 'b', 'c']


def content(dataset: InMemoryDataset) -> set[bytes]:
    return {image.numpy().tobytes() for image in dataset.images}


def test_balance():
    kept = balanced_subset(LABELS, KEYS, CLASSES, labels_per_class=4, seed=0)
    assert np.bincount(LABELS[kept]).tolist() == [4, 4, 4] and kept.tolist() == sorted(set(kept.tolist()))
    kept = balanced_subset(LABELS, KEYS, CLASSES, fraction=0.25, seed=0)
    assert np.bincount(LABELS[kept]).tolist() == [2, 5, 8]
    assert len(balanced_subset(LABELS, KEYS, CLASSES, fraction=1.0, seed=0)) == 60


def test_order_of_the_images_does_not_matter():
    order = np.random.default_rng(1).permutation(60)
    plain = balanced_subset(LABELS, KEYS, CLASSES, labels_per_class=4, seed=7)
    mixed = balanced_subset(LABELS[order], [KEYS[index] for index in order], CLASSES, labels_per_class=4, seed=7)
    assert {KEYS[index] for index in plain} == {KEYS[order[index]] for index in mixed}


def test_seed_matters_and_larger_subsets_hold_the_smaller():
    subsets = [set(balanced_subset(LABELS, KEYS, CLASSES, labels_per_class=5, seed=seed)) for seed in range(5)]
    assert len({frozenset(subset) for subset in subsets}) == 5
    smaller = set(balanced_subset(LABELS, KEYS, CLASSES, labels_per_class=2, seed=0))
    assert smaller < subsets[0]


def test_choice_stays_the_same_for_ever():
    # a published label-scarcity run must find its images again, so this list may never change
    assert balanced_subset(LABELS, KEYS, CLASSES, labels_per_class=2, seed=0).tolist() == [2, 5, 15, 17, 33, 51]


def test_choice_is_uniform():
    counts = np.zeros(60)
    for seed in range(3000):
        counts[balanced_subset(LABELS, KEYS, CLASSES, labels_per_class=2, seed=seed)] += 1
    for label, expected in enumerate((600, 300, 200)):  # 3000 * 2 / class size
        of_class = counts[label == LABELS]
        assert abs(of_class - expected).max() < 4.5 * expected**0.5  # 60 images: p < 1e-3


@pytest.mark.parametrize(
    'build',
    [lambda **options: Digits('train', **options), lambda **options: SyntheticImages(100, 5, size=8, **options)],
)
def test_in_memory_datasets_take_subsets(build):
    subset = build(labels_per_class=3, subset_seed=4)
    assert set(subset.labels.bincount().tolist()) == {3} and content(subset) < content(build())
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    assert torch.equal(build(labels_per_class=3, subset_seed=4).images, subset.images)
    assert content(build(labels_per_class=3, subset_seed=5)) != content(subset)
    whole, half = build().labels.bincount(), build(fraction=0.5).labels.bincount()
    assert half.tolist() == [round(count / 2) for count in whole.tolist()]


def test_subset_of_an_array_follows_the_content():
    whole = SyntheticImages(60, 3, size=4)
    order = torch.randperm(60)
    mixed = InMemoryDataset(whole.images[order], whole.labels[order], whole.metainfo['classes'], labels_per_class=5)
    assert content(mixed) == content(SyntheticImages(60, 3, size=4, labels_per_class=5))


@pytest.mark.parametrize('options', [dict(labels_per_class=3), dict(fraction=0.25)])
@pytest.mark.parametrize(
    'build',
    [lambda **options: Digits('train', **options), lambda **options: SyntheticImages(100, 5, size=8, **options)],
)
def test_the_others_can_stay_without_label(build, options):
    whole, small, kept = build(), build(**options), build(**options, others='unlabeled')
    assert torch.equal(kept.images, whole.images)
    labeled = kept.labels != -1
    assert torch.equal(kept.images[labeled], small.images), 'the labeled ones are those of the subset alone'
    assert torch.equal(kept.labels[labeled], small.labels)
    assert torch.equal(kept.labels[labeled], whole.labels[labeled]) and (kept.labels[~labeled] == -1).all()


def test_no_label_at_all():
    dataset = SyntheticImages(20, 5, labels_per_class=0, others='unlabeled')
    assert dataset.labels.tolist() == [-1] * 20


def test_all_labels_kept_change_nothing():
    whole, kept = SyntheticImages(20, 5), SyntheticImages(20, 5, fraction=1.0, others='unlabeled')
    assert torch.equal(whole.labels, kept.labels) and torch.equal(whole.images, kept.images)


def test_images_without_label_stay_in_every_subset():
    whole = SyntheticImages(20, 5)
    labels = whole.labels.clone()
    labels[:5] = -1
    subset = InMemoryDataset(whole.images, labels, whole.metainfo['classes'], labels_per_class=1)
    assert subset.labels.tolist()[:5] == [-1] * 5 and sorted(subset.labels.tolist()[5:]) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(others='keep', fraction=0.5), "others must be 'drop' or 'unlabeled', not 'keep'"),
        (dict(others='unlabeled'), 'goes with a subset'),
        (dict(labels_per_class=0), 'above 0, not 0'),
    ],
)
def test_impossible_others(options, message):
    with pytest.raises(InputError, match=message):
        SyntheticImages(20, 5, **options)


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(labels_per_class=11), "class 'a' has 10 images, fewer than labels_per_class=11"),
        (dict(labels_per_class=0), 'above 0, not 0'),
        (dict(labels_per_class=2.5), 'whole number above 0, not 2.5'),
        (dict(fraction=0.0), 'at most 1, not 0.0'),
        (dict(fraction=1.5), 'at most 1, not 1.5'),
        (dict(fraction=0.01), "keeps no image of class 'a', which has 10"),
        (dict(fraction=0.5, labels_per_class=2), 'one of the two'),
        (dict(), 'one of the two'),
    ],
)
def test_impossible_subsets(options, message):
    with pytest.raises(InputError, match=message):
        balanced_subset(LABELS, KEYS, CLASSES, seed=0, **options)
