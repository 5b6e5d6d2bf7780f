"""Taps: the same names on networks of every library, the right tensors, sentences for what is not there."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from crld_zoo.errors import InputError, UnknownNameError
from crld_zoo.networks import Taps, build_network

NETWORKS = {
    'crld_zoo::resnet20': [(16, 32, 32), (32, 16, 16), (64, 8, 8)],
    'crld_zoo::wrn_16_2': [(32, 32, 32), (64, 16, 16), (128, 8, 8)],
    'crld_zoo::vgg8': [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4)],
    'crld_zoo::mobilenet_v2_half': [(12, 16, 16), (16, 8, 8), (48, 4, 4), (1280, 2, 2)],
    'crld_zoo::shufflenet_v2': [(116, 16, 16), (232, 8, 8), (1024, 4, 4)],
    'torchvision::resnet18': [(64, 8, 8), (128, 4, 4), (256, 2, 2)],
    'timm::resnet18': [(64, 8, 8), (128, 4, 4), (256, 2, 2)],
    'timm::mobilenetv3_small_050': [(8, 8, 8), (16, 4, 4), (144, 2, 2)],
    'resnet18_8xb32_in1k': [(64, 8, 8), (128, 4, 4), (256, 2, 2)],
}


def build(name: str) -> nn.Module:
    return build_network(name, num_classes=None if name.endswith('in1k') else 10, checkpoint='random').eval()


def images(size: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(('name', 'shapes'), NETWORKS.items(), ids=NETWORKS)
def test_stages_are_counted_by_resolution(name, shapes):
    network = build(name)
    names = [f'stage{number + 1}' for number in range(len(shapes))]
    with torch.no_grad():
        logits, features = Taps(network, names, images()).run(network, images())
        assert torch.equal(logits, network(images()))
    assert [tuple(features[name].shape[1:]) for name in names] == shapes


@pytest.mark.parametrize('name', ['crld_zoo::resnet20', 'crld_zoo::wrn_16_2', 'timm::resnet18', 'resnet18_8xb32_in1k'])
def test_before_the_activation(name):
    """The activation of what is tapped before it is what is tapped after it, also where it works in place."""
    network = build(name)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):  # some start their residual branches at 0
            nn.init.ones_(module.weight)
    with torch.no_grad():
        _, features = Taps(network, ['stage3', 'stage3:pre'], images()).run(network, images())
    assert (features['stage3:pre'] < 0).any()
    assert torch.equal(features['stage3:pre'].relu(), features['stage3'])


@pytest.mark.parametrize('name', [*NETWORKS, 'timm::vit_tiny_patch16_224'])
def test_embedding_is_what_the_classifier_reads(name):
    network, x = build(name), images(224 if 'vit' in name else 32)
    with torch.no_grad():
        logits, features = Taps(network, ['embedding'], x).run(network, x)
    (linear,) = [
        module
        for module in network.modules()
        if isinstance(module, nn.Linear) and module.out_features == logits.shape[1]
    ]
    torch.testing.assert_close(linear(features['embedding']), logits)


@pytest.mark.parametrize('name', ['crld_zoo::resnet20', 'crld_zoo::wrn_16_2', 'timm::resnet18'])
def test_the_mean_of_the_class_maps_is_the_logits(name):
    network, x = build(name), images(64)
    with torch.no_grad():
        logits, features = Taps(network, ['class_maps', 'class_maps:nobias'], x).run(network, x)
    torch.testing.assert_close(features['class_maps'].mean((2, 3)), logits, rtol=1e-4, atol=1e-4)
    difference = features['class_maps'] - features['class_maps:nobias']
    torch.testing.assert_close(difference, difference[:1, :, :1, :1].expand_as(difference), rtol=1e-3, atol=1e-4)


def test_a_transformer_has_quarters_of_its_blocks():
    network, x = build('timm::vit_tiny_patch16_224'), images(224)
    with torch.no_grad():
        _, features = Taps(network, ['stage1', 'stage4', 'model.blocks.11'], x).run(network, x)
    assert features['stage1'].shape == (2, 197, 192)
    assert torch.equal(features['stage4'], features['model.blocks.11'])


def test_modules_by_path_and_their_inputs():
    network = build('crld_zoo::resnet20')
    with torch.no_grad():
        _, features = Taps(network, ['backbone.layer1', 'backbone.layer2:input'], images()).run(network, images())
    assert torch.equal(features['backbone.layer1'], features['backbone.layer2:input'])


@pytest.mark.parametrize(
    ('tap', 'sentence'),
    [
        ('backbone.layer9', r"no tap 'backbone.layer9' \(nearest: backbone.layer"),
        ('stage7', "has no 'stage7'; it has stage1 to stage3"),
        ('class_maps:bias', 'nearest: class_maps, class_maps:nobias'),
        ('backbone.layer1:output', 'no tap'),
    ],
)
def test_a_wrong_name_is_answered_with_what_there_is(tap, sentence):
    with pytest.raises(UnknownNameError, match=sentence):
        Taps(build('crld_zoo::resnet20'), [tap], images())


def test_what_a_network_lacks_is_said():
    with pytest.raises(InputError, match='has no class maps'):
        Taps(build('timm::mobilenetv3_small_050'), ['class_maps'], images())


def test_nothing_is_left_behind_in_the_network():
    network = build('crld_zoo::resnet20')
    taps = Taps(network, ['stage1', 'stage2:pre', 'embedding'], images())
    taps.run(network, images())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
