"""Tiny-ImageNet in its published folder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from crld_zoo.datasets import InMemoryTinyImageNet
from crld_zoo.errors import InputError, MissingFileError

OTHERS = dict(labels_per_class=1, others='unlabeled')
WNIDS = ('n02', 'n01', 'n03')  # as published: not sorted


@pytest.fixture
def folder(tmp_path):
    """Three classes, two training images each, and three validation images; each is filled with its class's grey."""
    root = tmp_path / 'tiny-imagenet-200'
    (root / 'val' / 'images').mkdir(parents=True)
    (root / 'wnids.txt').write_text('\n'.join(WNIDS) + '\n')
    (root / 'words.txt').write_text('n00\tnothing\nn01\tgoldfish, Carassius\nn02\tbullfrog\nn03\ttailed frog\n')
    lines = []
    for number, wnid in enumerate(WNIDS):
        images = root / 'train' / wnid / 'images'
        images.mkdir(parents=True)
        for count in range(2):
            gray(wnid).save(images / f'{wnid}_{count}.JPEG')
        gray(wnid).save(root / 'val' / 'images' / f'val_{number}.JPEG')
        lines.append(f'val_{number}.JPEG\t{wnid}\t0\t0\t62\t62\n')
    (root / 'val' / 'val_annotations.txt').write_text(''.join(lines))
    return root


def gray(wnid: str) -> Image.Image:
    return Image.fromarray(np.full((64, 64), 50 * int(wnid[1:]), np.uint8))


@pytest.mark.parametrize('split, count', [('train', 2), ('val', 1)])
def test_split(folder, split, count):
    dataset = InMemoryTinyImageNet(folder, split)
    assert dataset.metainfo['classes'] == ('goldfish, Carassius', 'bullfrog', 'tailed frog')
    assert dataset.images.shape == (3 * count, 3, 64, 64) and dataset.labels.bincount().tolist() == [count] * 3
    assert torch.equal(dataset.images[:, 0, 0, 0].long(), 50 * (dataset.labels + 1)), 'a label follows its image'


def test_hidden_files_are_no_images(folder):
    (folder / 'train' / 'n01' / 'images' / '._n01_0.JPEG').write_bytes(b'of a Mac')
    assert len(InMemoryTinyImageNet(folder, 'train')) == 6


def test_options_reach_the_reader(folder):
    dataset = InMemoryTinyImageNet(folder, 'train', size=16, labels_per_class=1)
    assert dataset.images.shape == (3, 3, 16, 16)


def test_the_others_can_stay_without_label(folder):
    whole, kept = (InMemoryTinyImageNet(folder, 'train', **options) for options in ({}, OTHERS))
    assert torch.equal(kept.images, whole.images) and sorted(kept.labels.tolist()) == [-1, -1, -1, 0, 1, 2]


def test_unknown_split(folder):
    with pytest.raises(InputError, match="'train' or 'val', not 'test'"):
        InMemoryTinyImageNet(folder, 'test')


@pytest.mark.parametrize('name', ['wnids.txt', 'words.txt', 'val/val_annotations.txt'])
def test_missing_list(folder, name):
    (folder / name).unlink()
    with pytest.raises(MissingFileError, match=f'{name} is not there: set data_root'):
        InMemoryTinyImageNet(folder, 'val')


def test_missing_class_folder(folder):
    (folder / 'train' / 'n03').rename(folder / 'elsewhere')
    with pytest.raises(MissingFileError, match='train/n03/images is not there'):
        InMemoryTinyImageNet(folder, 'train')


def test_missing_image(folder):
    (folder / 'val' / 'images' / 'val_1.JPEG').unlink()
    with pytest.raises(InputError, match=r'val_1\.JPEG cannot be read \(FileNotFoundError'):
        InMemoryTinyImageNet(folder, 'val')


def test_class_without_image(folder):
    for path in (folder / 'train' / 'n01' / 'images').iterdir():
        path.unlink()
    with pytest.raises(InputError, match="class 'goldfish, Carassius' has no image"):
        InMemoryTinyImageNet(folder, 'train')


@pytest.mark.parametrize(
    'line, message',
    [
        ('val_0.JPEG\tn99\t0\t0\t1\t1\n', "gives val_0.JPEG the class 'n99'"),
        ('val_0.JPEG\tn01\t0\n', 'line 4 of .* has 3 fields instead of 6'),
    ],
)
def test_damaged_annotations(folder, line, message):
    with (folder / 'val' / 'val_annotations.txt').open('a') as file:
        file.write(line)
    with pytest.raises(InputError, match=message):
        InMemoryTinyImageNet(folder, 'val')
