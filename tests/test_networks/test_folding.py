"""Folding a frozen network's batch norms: the same answers, fewer layers, and nothing where it would be wrong."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from crld_zoo.networks.backbones import zoo
from crld_zoo.networks.folding import fold_batch_norms
from crld_zoo.networks.sources import build_network

SIZES = (32, 224)


def with_statistics(network):
    """Batch norms as after a training: with means, variances, scales and shifts of their own."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for values, low, high in (
                (module.running_mean, -0.5, 0.5),
                (module.running_var, 0.5, 2),
                (module.weight.data, 0.5, 1.5),
                (module.bias.data, -0.5, 0.5),
            ):
                values.uniform_(low, high, generator=generator)
    return network.eval().requires_grad_(False)


def norms(network):
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def assert_same_answers(folded, network, images):
    expected = network(images)
    assert expected.std() > 1e-4, 'answers without differences would prove nothing'
    torch.testing.assert_close(folded(images), expected, rtol=1e-4, atol=1e-4 * expected.abs().max().item())


@pytest.mark.parametrize('name', sorted(zoo.ZOO))
def test_every_network_of_the_zoo_answers_as_before(name):
    torch.manual_seed(0)
    network = with_statistics(build_network(f'crld_zoo::{name}', num_classes=10))
    nn.init.normal_(network.head.fc.weight)
    folded = copy.deepcopy(network)
    count = fold_batch_norms(folded, name, SIZES)
    assert count > 0 and len(norms(folded)) == len(norms(network)) - count
    assert_same_answers(folded, network, torch.randn(2, 3, 32, 32))


def test_a_resnet_keeps_no_batch_norm():
    network = with_statistics(build_network('torchvision::resnet18', num_classes=5, checkpoint='random'))
    folded = copy.deepcopy(network)
    assert fold_batch_norms(folded, 'it', SIZES) == 20
    assert norms(folded) == []
    assert_same_answers(folded, network, torch.randn(2, 3, 64, 64))
    assert not any(parameter.requires_grad for parameter in folded.parameters())


def test_it_draws_no_random_number():
    network = with_statistics(build_network('crld_zoo::resnet8', num_classes=5))
    state = torch.get_rng_state()
    fold_batch_norms(network, 'it', SIZES)
    assert torch.equal(torch.get_rng_state(), state)


class Layers(nn.Module):
    """Two convolutions, a norm, and a way through them."""

    def __init__(self, way, share=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        if share:
            self.second.weight = self.first.weight
        self.norm = nn.BatchNorm2d(3)
        self.way = way

    def forward(self, x):
        return self.way(self, x).flatten(2).mean(2)


@pytest.mark.parametrize(
    ('way', 'share'),
    [
        (lambda net, x: net.second(net.norm(net.first(x).relu())), False),  # an activation lies between
        (lambda net, x: net.norm(net.first(net.first(x))), False),  # the convolution runs twice
        (lambda net, x: net.norm(net.second(net.norm(net.first(x)))), False),  # the norm runs twice
        (lambda net, x: net.second(net.norm(net.first(x))), True),  # the weight serves another layer as well
    ],
    ids=['activation_between', 'convolution_twice', 'norm_twice', 'shared_weight'],
)
def test_what_cannot_be_folded_is_left_alone(way, share):
    torch.manual_seed(1)
    network = with_statistics(Layers(way, share))
    folded = copy.deepcopy(network)
    assert fold_batch_norms(folded, 'it', SIZES) == 0
    assert len(norms(folded)) == 1 and not any(module.training for module in folded.modules())
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(folded(images), network(images))


def test_a_norm_without_running_statistics_is_left_alone():
    network = Layers(lambda net, x: net.norm(net.first(x)))
    network.norm = nn.BatchNorm2d(3, track_running_stats=False)
    network.eval().requires_grad_(False)
    assert fold_batch_norms(network, 'it', SIZES) == 0
    assert len(norms(network)) == 1


def test_an_output_that_somebody_else_uses_is_noticed():
    """The first norm can be folded, the second cannot."""

    def way(net, x):
        y = net.second(net.norm(net.first(x)))
        return net.norm_of_second(y) + y

    torch.manual_seed(2)
    network = Layers(way)
    network.norm_of_second = nn.BatchNorm2d(3)
    folded = copy.deepcopy(with_statistics(network))
    assert fold_batch_norms(folded, 'the net', SIZES) == 1
    assert norms(folded) == [folded.norm_of_second] and folded.second.bias.equal(network.second.bias)
    assert_same_answers(folded, network, torch.randn(2, 3, 8, 8))


def test_a_network_that_takes_another_size_says_so(log):
    def way(net, x):
        assert x.shape[-1] == 17, 'images of 17 pixels'
        return net.norm(net.first(x))

    network = with_statistics(Layers(way))
    assert fold_batch_norms(network, 'the net', SIZES) == 0
    assert 'the net keeps its batch norms, since it runs on no image with a side of 32 or 224' in log.text
    assert fold_batch_norms(network, 'the net', [17]) == 1
