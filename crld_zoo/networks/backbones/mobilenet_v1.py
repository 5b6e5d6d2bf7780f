"""MobileNetV1 for images of 224 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from crld_zoo.registry import MODELS

from .stages import StagedBackbone

STAGES = (((64, 1),), ((128, 2), (128, 1)), ((256, 2), (256, 1)), ((512, 2), *((512, 1),) * 5), ((1024, 2), (1024, 1)))
"""Output channels and stride of each separable convolution, by the resolution that they work at."""


def _activated(conv: nn.Conv2d) -> tuple[nn.Module, ...]:
    return conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU(inplace=True)


def separable(in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """A depthwise 3x3 and a pointwise convolution, each with batch norm and ReLU."""
    return nn.Sequential(
        *_activated(nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False)),
        *_activated(nn.Conv2d(in_channels, out_channels, 1, bias=False)),
    )


@MODELS.register_module()
class MobileNetV1(StagedBackbone):
    """`MobileNets <https://arxiv.org/abs/1704.04861>`_, the first: a stem and thirteen separable convolutions.

    The student of the ResNet50 -> MobileNetV1 pair on ImageNet.

    Args:
        out_indices: The stages, 0-4 (a half to 1/32 of the resolution), whose maps are given out.
        init_cfg: mmengine's config of the initialization; torch's own if None, as the references have it but for NKD's,
            which is :data:`~crld_zoo.networks.backbones.stages.KAIMING`.
    """

    def __init__(self, out_indices: Sequence[int] = (4,), init_cfg: dict | list | None = None):
        super().__init__(out_indices, len(STAGES), init_cfg)
        channels = 32
        layers = [nn.Sequential(*_activated(nn.Conv2d(3, channels, 3, 2, 1, bias=False)))]
        self.last_layers = []
        for stage in STAGES:
            for width, stride in stage:
                layers.append(separable(channels, width, stride))
                channels = width
            self.last_layers.append(len(layers) - 1)
        self.layers = nn.Sequential(*layers)
        self.feat_dim = channels

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        for index, layer in enumerate(self.layers):
            x = layer(x)
            if index in self.last_layers:
                yield x
