"""One target tensor behind the preprocessor, whatever form the labels have."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmpretrain.structures import DataSample

from crld_zoo.errors import InputError
from crld_zoo.views import targets


def samples(*labels, score: bool = False) -> list[DataSample]:
    return [DataSample().set_gt_score(label) if score else DataSample().set_gt_label(label) for label in labels]


@pytest.mark.parametrize(
    ('given', 'expected'),
    [
        (torch.tensor([2, 0], dtype=torch.uint8), [2, 0]),
        (samples(2, 0), [2, 0]),
        (samples([2], [0]), [2, 0]),
    ],
)
def test_class_indices(given, expected):
    target = targets(given)
    assert target.dtype == torch.int64 and target.tolist() == expected


def test_mixed_labels():
    rows = torch.tensor([[0.3, 0.7], [1.0, 0.0]])
    assert targets(rows) is rows
    assert torch.equal(targets(samples(*rows, score=True)), rows)
    assert targets(rows.half()).dtype == torch.half


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (samples([0, 2], []), 'each image needs one label, but gt_label of the batch has 0, 2 entries'),
        (samples([0, 1], [1, 2]), 'each image needs one label, but gt_label of the batch has 2 entries'),
        (samples([], []), 'each image needs one label, but gt_label of the batch has 0 entries'),
        ([*samples(0), DataSample()], 'each image needs one label, but gt_label of the batch has 0, 1 entries'),
        ([DataSample(), DataSample()], 'hold no label'),
        ([*samples(torch.tensor([0.5, 0.5]), score=True), *samples(1)], 'gt_score of the batch has 0, 2 entries'),
        (torch.tensor([[0, 1], [1, 0]]), r'one a pixel, but they are int64 of shape \(2, 2\)'),
        (torch.tensor([[0], [1]]), r'one a pixel, but they are int64 of shape \(2, 1\)'),
        (torch.tensor([True, False]), 'they are bool'),
        (torch.tensor(3), r'of shape \(\)'),
        (torch.tensor([0.0, 1.0]), r'class probabilities \(N, K\), but they are float32 of shape \(2,\)'),
        (torch.tensor([[1.0], [1.0]]), r'of shape \(2, 1\)'),
        (torch.tensor([[1.0, 1.0], [1.0, 0.0]]), 'sum to 1 for each image'),
        (torch.tensor([[1.5, -0.5]]), '0 or more and sum to 1'),
        (torch.tensor([[float('nan'), 1.0]]), 'sum to 1'),
        (samples(torch.tensor([1.0, 1.0]), score=True), 'sum to 1 for each image'),
        (torch.tensor([0, -100]), 'label -100 is no class'),
        (torch.tensor([-1, -2]), 'label -2 is no class'),
        (samples(3, -100), 'label -100 is no class'),
        ([0, 2], 'they are a list of int: make a tensor'),
        (np.array([0, 2]), 'they are a ndarray of int64: make a tensor'),
    ],
)
@pytest.mark.parametrize('unlabeled', [False, True])
def test_what_is_not_one_label_an_image(given, message, unlabeled):
    with pytest.raises(InputError, match=message):
        targets(given, unlabeled=unlabeled)


def test_only_training_images_may_lack_a_label():
    assert targets(torch.tensor([-1, 3]), unlabeled=True).tolist() == [-1, 3]
    with pytest.raises(InputError, match='label -1 is no class: .*only training images may lack one'):
        targets(torch.tensor([-1, 3]))
