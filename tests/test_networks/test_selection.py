"""A student that starts as its teacher, pruned in depth or width."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.launch.config import student_alone
from crld_zoo.networks import build_network
from crld_zoo.networks.selection import select_weights

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def saved(model, tmp_path, classes=10):
    network = build_network(model, num_classes=classes, checkpoint='random')
    path = tmp_path / 'larger.pth'
    torch.save(network.state_dict(), path)
    return network.state_dict(), dict(model=model, num_classes=classes, checkpoint=str(path))


@pytest.mark.parametrize(
    ('larger', 'smaller', 'key', 'source'),
    [
        ('crld_zoo::resnet56', 'crld_zoo::resnet20', 'layer2.1.conv2.weight', 'layer2.3.conv2.weight'),
        ('timm::vit_tiny_patch16_224', dict(depth=6), 'blocks.3.attn.qkv.weight', 'blocks.6.attn.qkv.weight'),
    ],
)
def test_it_takes_evenly_spaced_blocks(larger, smaller, key, source, tmp_path):
    weights, start = saved(larger, tmp_path)
    if isinstance(smaller, dict):
        import timm

        smaller = timm.create_model('vit_tiny_patch16_224', num_classes=10, **smaller)
    network = build_network(smaller, num_classes=10, checkpoint='random', init_from=start)
    (own,) = [name for name in network.state_dict() if name.endswith(key)]
    assert torch.equal(network.state_dict()[own], weights[own.removesuffix(key) + source])
    first = next(iter(network.state_dict()))
    assert torch.equal(network.state_dict()[first], weights[first])


def test_it_takes_evenly_spaced_channels(tmp_path):
    weights, start = saved('crld_zoo::resnet8x4', tmp_path)
    network = build_network('crld_zoo::resnet8', num_classes=10, init_from=start)
    (key,) = [name for name in weights if name.endswith('layer2.0.conv1.weight')]
    wide, narrow = weights[key], network.state_dict()[key]
    step = [wide.shape[dim] // narrow.shape[dim] for dim in (0, 1)]
    assert step[0] > 1 and torch.equal(narrow, wide[:: step[0], :: step[1]])


def test_the_same_network_is_a_copy(tmp_path):
    weights, start = saved('crld_zoo::resnet8', tmp_path)
    network = build_network('crld_zoo::resnet8', num_classes=10, init_from=start)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    network.init_weights()  # as the Runner does at its start
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())


def test_a_new_head_stays_random(tmp_path):
    weights, start = saved('crld_zoo::resnet20', tmp_path, classes=7)
    for classes in (5, 10):
        with pytest.raises(InputError, match=f'has {classes} classes, the network that it starts from 7'):
            build_network('crld_zoo::resnet8', num_classes=classes, init_from=start)
    network = build_network('crld_zoo::resnet8', num_classes=10, init_from=start, head='new')
    own = network.state_dict()
    assert own['head.fc.weight'].shape[0] == 10
    assert all(torch.equal(own[key], weights[key]) for key in own if 'layer1.0' in key)


@pytest.mark.parametrize(
    ('larger', 'smaller', 'message'),
    [
        ('crld_zoo::resnet8', 'crld_zoo::resnet20', 'has 3 parts, 1 in the network to start from'),
        ('crld_zoo::resnet8', 'crld_zoo::resnet8x4', 'only a larger network of the same family'),
        ('crld_zoo::resnet20', 'crld_zoo::vgg8', 'only a larger network of the same family'),
    ],
)
def test_what_is_no_larger_network_of_the_family(larger, smaller, message, tmp_path):
    _, start = saved(larger, tmp_path)
    with pytest.raises(InputError, match=message):
        build_network(smaller, num_classes=10, init_from=start)


def test_one_start_alone(tmp_path):
    _, start = saved('crld_zoo::resnet20', tmp_path)
    with pytest.raises(InputError, match='or from init_from, not from both'):
        build_network('crld_zoo::resnet8', num_classes=10, checkpoint='x.pth', init_from=start)
    with pytest.raises(InputError, match='or from init_from, not from both'):
        build_network('crld_zoo::resnet8', num_classes=10, prefix='student.', init_from=start)


@pytest.mark.parametrize('start', ['crld_zoo::resnet20', dict(model='crld_zoo::resnet20', num_classes=10)])
def test_a_start_without_weights_is_refused(start):
    with pytest.raises(InputError, match='init_from of crld_zoo::resnet8 names no weights'):
        build_network('crld_zoo::resnet8', num_classes=10, init_from=start)


def test_testing_looks_for_no_larger_network():
    model = dict(distiller=dict(type='KD'), student=dict(model='crld_zoo::resnet8', init_from=dict(model='gone.py')))
    assert 'init_from' not in student_alone(model)['student']


def test_nothing_is_shared():
    larger = dict(weight=torch.ones(2))
    assert select_weights(larger, dict(weight=torch.zeros(2)))['weight'].data_ptr() != larger['weight'].data_ptr()
