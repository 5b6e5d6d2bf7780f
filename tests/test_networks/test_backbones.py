"""The backbones: parameter counts, maps, initialization, bad options."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.errors import InputError
from crld_zoo.networks.backbones import (
    CIFARVGG,
    CIFARMobileNetV2,
    CIFARResNet,
    CIFARShuffleNetV1,
    CIFARShuffleNetV2,
    MobileNetV1,
    WideResNet,
)
from crld_zoo.networks.backbones.zoo import ZOO
from crld_zoo.networks.sources import build_network

PARAMETERS = {
    'resnet8': 83_892,
    'resnet20': 278_324,
    'resnet32': 472_756,
    'resnet56': 861_620,
    'resnet110': 1_736_564,
    'resnet8x4': 1_233_540,
    'resnet32x4': 7_433_860,
    'resnet50_cifar': 23_705_252,
    'wrn_16_2': 703_284,
    'wrn_40_1': 569_780,
    'wrn_40_2': 2_255_156,
    'vgg8': 3_965_028,
    'vgg13': 9_462_180,
    'mobilenet_v2_half': 812_836,
    'shufflenet_v1': 949_258,
    'shufflenet_v2': 1_355_528,
}
"""For 100 classes, as the distillation literature counts them."""


@pytest.mark.parametrize('name', PARAMETERS)
def test_parameter_counts_are_the_published_ones(name):
    network = build_network(f'crld_zoo::{name}', num_classes=100)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_mobilenet_v1_counts_as_published_for_imagenet():
    network = build_network('crld_zoo::mobilenet_v1', num_classes=1000)
    assert sum(parameter.numel() for parameter in network.parameters()) == 4_231_976


@pytest.mark.parametrize('name', [name for name in ZOO if not name.endswith('_imagenet')])
def test_every_known_network_classifies_and_trains(name):
    network = build_network(f'crld_zoo::{name}', num_classes=5)
    logits = network(torch.randn(2, 3, 32, 32))
    assert logits.shape == (2, 5)
    logits.logsumexp(1).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize(
    ('backbone', 'shapes'),
    [
        (CIFARResNet(8, out_indices=(0, 1, 2)), [(16, 32), (32, 16), (64, 8)]),
        (CIFARResNet(8, widths=(32, 64, 128, 256), out_indices=(0, 1, 2)), [(64, 32), (128, 16), (256, 8)]),
        (WideResNet(16, 2, out_indices=(0, 1, 2)), [(32, 32), (64, 16), (128, 8)]),
        (CIFARVGG(8, out_indices=(0, 1, 2, 3, 4)), [(64, 32), (128, 16), (256, 8), (512, 4), (512, 4)]),
        (CIFARMobileNetV2(out_indices=(1, 2, 4, 6, 7)), [(12, 16), (16, 8), (48, 4), (160, 2), (1280, 2)]),
        (CIFARShuffleNetV1(out_indices=(0, 1, 2)), [(240, 16), (480, 8), (960, 4)]),
        (CIFARShuffleNetV2(out_indices=(0, 1, 2, 3)), [(116, 16), (232, 8), (464, 4), (1024, 4)]),
        (MobileNetV1(out_indices=(0, 1, 2, 3, 4)), [(64, 16), (128, 8), (256, 4), (512, 2), (1024, 1)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_maps_have_the_channels_and_sides_of_their_stages(backbone, shapes):
    maps = backbone.eval()(torch.randn(1, 3, 32, 32))
    assert [(out.shape[1], out.shape[2]) for out in maps] == shapes
    assert isinstance(maps, tuple)


def test_vgg_halves_once_more_from_64_pixels_on():
    backbone = CIFARVGG(8, out_indices=(3, 4)).eval()
    assert [out.shape[-1] for out in backbone(torch.randn(1, 3, 32, 32))] == [4, 4]
    assert [out.shape[-1] for out in backbone(torch.randn(1, 3, 64, 64))] == [8, 4]


def test_negative_indices_count_from_the_last_stage():
    image = torch.randn(1, 3, 32, 32)
    backbone = WideResNet(10, out_indices=(-1,)).eval()
    (last,) = backbone(image)
    backbone.out_indices = {0, 1, 2}
    assert torch.equal(last, backbone(image)[2])


@pytest.mark.parametrize(
    'backbone',
    [CIFARResNet(20), WideResNet(16, 2), CIFARVGG(8), CIFARMobileNetV2()],
    ids=lambda backbone: type(backbone).__name__,
)
def test_initialization_is_the_reference_one(backbone):
    for parameter in backbone.parameters():
        torch.nn.init.constant_(parameter, 7.0)
    backbone.init_weights()
    for name, module in backbone.named_modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.numel() > 2000:
            expected = (2.0 / (module.kernel_size[0] ** 2 * module.out_channels)) ** 0.5
            assert module.weight.std().item() == pytest.approx(expected, rel=0.1), name
        elif isinstance(module, torch.nn.BatchNorm2d):  # also the last of a residual block, which some zero
            assert (module.weight == 1).all() and (module.bias == 0).all(), name


@pytest.mark.parametrize(
    ('name', 'std', 'bias'),
    [
        ('vgg8', 0.01, 0.0),
        ('mobilenet_v2_half', 0.01, 0.0),
        ('wrn_16_2', (1 / 3 / 128) ** 0.5, 0.0),
        ('resnet32x4', (1 / 3 / 256) ** 0.5, None),
        ('resnet18_imagenet', (1 / 3 / 512) ** 0.5, None),
        ('mobilenet_v1', (1 / 3 / 1024) ** 0.5, None),
    ],
)
def test_heads_start_as_the_reference_ones(name, std, bias):
    network = build_network(f'crld_zoo::{name}', num_classes=100)
    network.init_weights()
    assert network.head.fc.weight.std().item() == pytest.approx(std, rel=0.03)
    assert (network.head.fc.bias == 0).all() == (bias == 0)


def test_mobilenet_v1_starts_as_torch_does():
    network = MobileNetV1()
    network.init_weights()
    pointwise = network.layers[-1][3].weight
    assert pointwise.abs().max() <= 1024**-0.5 and pointwise.std().item() == pytest.approx((3 * 1024) ** -0.5, rel=0.05)


@pytest.mark.parametrize(
    ('build', 'said'),
    [
        (lambda: CIFARResNet(21), '6 n \\+ 2'),
        (lambda: CIFARResNet(20, widths=(16, 32, 64)), 'the stem, then three stages'),
        (lambda: CIFARResNet(20, widths=(16, 16, 32, 48)), 'twice'),
        (lambda: WideResNet(20), '6 n \\+ 4'),
        (lambda: WideResNet(4), '6 n \\+ 4'),
        (lambda: CIFARVGG(9), '8, 11, 13, 16, 19'),
        (lambda: CIFARVGG(8, out_indices=(5,)), '0-4'),
        (lambda: MobileNetV1(out_indices=()), '0-4'),
    ],
)
def test_wrong_options_are_refused(build, said):
    with pytest.raises(InputError, match=said):
        build()
