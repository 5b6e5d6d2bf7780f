"""Samples keep their number however their data set is reduced, joined or repeated."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, ClassBalancedDataset, ConcatDataset, RepeatDataset
from mmpretrain.datasets import KFoldDataset
from PIL import Image
from torch.utils.data import Subset, TensorDataset

from crld_zoo.datasets import ImageFolder, InMemoryDataset, numbers_of
from crld_zoo.registry import DATASETS


@DATASETS.register_module()
class ListedNumbers(BaseDataset):
    def load_data_list(self) -> list[dict]:
        return [dict(number=number) for number in range(8)]


def pixels(count: int = 8, **options) -> dict:
    """Images that hold their index."""
    images = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 2, 2).contiguous()
    return dict(type=InMemoryDataset, images=images, labels=torch.arange(count) % 2, classes=['a', 'b'], **options)


def build(config: dict):
    return DATASETS.build(config)


@pytest.mark.parametrize('reduction', [dict(labels_per_class=2), dict(fraction=0.5), dict()])
def test_a_subset_keeps_the_numbers_of_the_split(reduction):
    dataset = build(pixels(**reduction))
    numbers, copies, _ = numbers_of(dataset)
    assert numbers.tolist() == dataset.images[:, 0, 0, 0].tolist() and not copies.any()
    assert dataset.split_size == 8
    fold = KFoldDataset(pixels(**reduction), fold=1, num_splits=2)
    assert numbers_of(fold)[0].tolist() == fold.dataset.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize('indices', [3, -3, [5, 1, 6], None])
def test_mmengines_reductions(indices):
    dataset = build(dict(type='ListedNumbers', indices=indices))
    assert numbers_of(dataset)[0].tolist() == [dataset[at]['number'] for at in range(len(dataset))]


def test_a_fold_of_mmengines():
    fold = KFoldDataset(dict(type=ListedNumbers), fold=0, num_splits=4, seed=0)
    assert numbers_of(fold)[0].tolist() == [fold[at]['number'] for at in range(6)]


def test_concatenated_sets_are_numbered_one_after_the_other():
    parts = [build(pixels(8, labels_per_class=1)), build(dict(type='ListedNumbers', indices=2)), build(pixels(3))]
    own = [numbers_of(part)[0] for part in parts]
    joined = torch.utils.data.ConcatDataset(parts)
    assert numbers_of(joined)[0].tolist() == [*own[0], *(own[1] + 8), *(own[2] + 16)]
    assert numbers_of(ConcatDataset([pixels(2), pixels(3)]))[0].tolist() == [0, 1, 2, 3, 4]


def test_repeated_samples_are_copies():
    numbers, copies, _ = numbers_of(RepeatDataset(pixels(3), times=2))
    assert (numbers.tolist(), copies.tolist()) == ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1])
    twice = Subset(
        torch.utils.data.ConcatDataset([RepeatDataset(pixels(2), times=2), TensorDataset(torch.zeros(1))]), [0, 2, 0, 4]
    )
    numbers, copies, _ = numbers_of(twice)
    assert numbers.tolist() == [0, 0, 0, 2]
    assert len({*zip(numbers.tolist(), copies.tolist(), strict=True)}) == 4


def test_balanced_classes_repeat_by_copies():
    config = dict(pixels(), labels=torch.tensor([0] * 7 + [1]))
    dataset = ClassBalancedDataset(config, oversample_thr=0.9)
    numbers, copies, _ = numbers_of(dataset)
    assert numbers.tolist() == dataset.repeat_indices and numbers.tolist().count(7) > 1
    assert len({*zip(numbers.tolist(), copies.tolist(), strict=True)}) == len(dataset)


def test_files_that_cannot_be_read_leave_gaps(tmp_path):
    for number in range(6):
        path = tmp_path / 'ab'[number % 2] / f'{number}.png'
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((4, 4, 3), number, np.uint8)).save(path)
    (tmp_path / 'a' / '2.png').write_bytes(b'')
    dataset = ImageFolder(tmp_path, 4, broken='skip')
    assert numbers_of(dataset)[0].tolist() == [0, 2, 3, 4, 5] and dataset.split_size == 6
