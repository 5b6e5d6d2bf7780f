"""MobileNetV2 for images of 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor, nn

from crld_zoo.registry import MODELS

from .stages import KAIMING, StagedBackbone

STAGES = ((1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, channels at width 1, blocks, stride of the first block."""

LAST_CHANNELS = 1280


def _normalized(conv: nn.Conv2d) -> tuple[nn.Module, ...]:
    return conv, nn.BatchNorm2d(conv.out_channels)


def _activated(conv: nn.Conv2d) -> tuple[nn.Module, ...]:
    return *_normalized(conv), nn.ReLU(inplace=True)


class InvertedResidual(nn.Module):
    """Widen, filter by channel, narrow without activation; added to the input where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int):
        super().__init__()
        hidden = in_channels * expansion
        self.residual = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *_activated(nn.Conv2d(in_channels, hidden, 1, bias=False)),
            *_activated(nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)),
            *_normalized(nn.Conv2d(hidden, out_channels, 1, bias=False)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.residual else self.conv(x)


@MODELS.register_module()
class CIFARMobileNetV2(StagedBackbone):
    """`MobileNetV2 <https://arxiv.org/abs/1801.04381>`_ as the distillation literature runs it on CIFAR.

    It differs from ImageNet's in the strides (an image of 32 pixels ends at 2), in ReLU for ReLU6, and in the first
    block, which widens by one instead of leaving the widening out; a width below one keeps the 1,280 last channels.

    Args:
        width: The factor on all other channels; the literature's student has 0.5.
        out_indices: The stages whose maps are given out: 0-6 of the inverted residuals, 7 the last convolution.
        init_cfg: mmengine's config of the initialization.
    """

    def __init__(self, width: float = 0.5, out_indices: Sequence[int] = (7,), init_cfg: dict | list | None = KAIMING):
        super().__init__(out_indices, len(STAGES) + 1, init_cfg)
        channels = int(32 * width)
        self.conv1 = nn.Sequential(*_activated(nn.Conv2d(3, channels, 3, 2, 1, bias=False)))
        self.blocks = nn.ModuleList()
        for expansion, full_width, count, stride in STAGES:
            layers = []
            for index in range(count):
                layers.append(InvertedResidual(channels, int(full_width * width), 1 if index else stride, expansion))
                channels = int(full_width * width)
            self.blocks.append(nn.Sequential(*layers))
        self.feat_dim = int(LAST_CHANNELS * max(width, 1))
        self.conv2 = nn.Sequential(*_activated(nn.Conv2d(channels, self.feat_dim, 1, bias=False)))

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        x = self.conv1(x)
        for block in self.blocks:
            yield (x := block(x))
        yield self.conv2(x)
