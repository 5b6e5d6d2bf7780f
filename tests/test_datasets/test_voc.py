"""VOCSegmentation: what it reads, that images and classes move together, what it refuses."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.datasets import VOCSegmentation
from crld_zoo.errors import InputError, MissingFileError

from .voc_tree import COUNT, make_voc


@pytest.fixture
def tree(tmp_path):
    return make_voc(tmp_path)


def test_whole_images(tree):
    data = VOCSegmentation(tree, split='val')
    assert len(data) == COUNT
    assert len(data.metainfo['classes']) == 21
    item = data[0]
    assert (item['inputs'].dtype, tuple(item['inputs'].shape)) == (torch.uint8, (3, 40, 60))
    assert (item['data_samples'].dtype, tuple(item['data_samples'].shape)) == (torch.int64, (40, 60))
    assert type(item['inputs']) is type(item['data_samples']) is torch.Tensor
    assert item['data_samples'].unique().tolist() == [0, COUNT + 1, 255]
    assert (item['data_samples'][:, 29:31] == 255).all()


def test_crops_move_images_and_classes_together(tree):
    """The gray of a pixel is ten times its class, wherever scaling, flipping and cutting took it."""
    data, seen = VOCSegmentation(tree, crop=48), set()
    for seed in range(12):
        torch.manual_seed(seed)
        item = data[2]
        image, label = item['inputs'], item['data_samples']
        assert tuple(image.shape) == (3, 48, 48) and tuple(label.shape) == (48, 48)
        inside = label != 255
        far = (image[0].float() - 10 * label)[inside].abs() > 6
        assert far.float().mean() < 0.1, 'only at edges, which resizing blurs'
        seen.add((image.sum().item(), inside.sum().item()))
    assert len(seen) > 6
    torch.manual_seed(3)
    first = data[2]
    torch.manual_seed(3)
    assert torch.equal(data[2]['inputs'], first['inputs'])


def test_what_is_not_there(tree, tmp_path):
    with pytest.raises(MissingFileError, match='there is no folder .*VOC2012: unpack'):
        VOCSegmentation(tmp_path / 'elsewhere')
    with pytest.raises(InputError, match="has no split 'test'"):
        VOCSegmentation(tree, split='test')
