"""ShuffleNetV2 for images of 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import channel_shuffle
from torch import Tensor, nn

from crld_zoo.registry import MODELS

from .stages import StagedBackbone

STEM, STAGES, LAST_CHANNELS = 24, ((116, 3), (232, 7), (464, 3)), 1024
"""The channels of the stem; channels and plain units of the stages; the channels of the last convolution."""


class PlainUnit(nn.Module):
    """One half of the channels passes; the other goes through 1x1, depthwise 3x3 and 1x1. Then all are shuffled."""

    def __init__(self, channels: int):
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Conv2d(half, half, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, 1, 1, groups=half, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.relu = nn.ReLU()  # a module, so that what enters it can be tapped

    def forward(self, x: Tensor) -> Tensor:
        passed, out = x.chunk(2, 1)
        out = F.relu(self.bn1(self.conv1(out)))
        out = self.bn2(self.conv2(out))
        out = self.bn3(self.conv3(out))
        return self.relu(channel_shuffle(torch.cat([passed, out], 1), 2))  # what passed is activated already


class DownUnit(nn.Module):
    """Halves the resolution in two branches: depthwise 3x3 and 1x1; and 1x1, depthwise 3x3, 1x1."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        half = out_channels // 2
        self.conv1 = nn.Conv2d(in_channels, in_channels, 3, 2, 1, groups=in_channels, bias=False)
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv2 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(in_channels, half, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv4 = nn.Conv2d(half, half, 3, 2, 1, groups=half, bias=False)
        self.bn4 = nn.BatchNorm2d(half)
        self.conv5 = nn.Conv2d(half, half, 1, bias=False)
        self.bn5 = nn.BatchNorm2d(half)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        left = self.bn2(self.conv2(self.bn1(self.conv1(x))))
        right = F.relu(self.bn3(self.conv3(x)))
        right = self.bn5(self.conv5(self.bn4(self.conv4(right))))
        return self.relu(channel_shuffle(torch.cat([left, right], 1), 2))


@MODELS.register_module()
class CIFARShuffleNetV2(StagedBackbone):
    """`ShuffleNetV2 <https://arxiv.org/abs/1807.11164>`_ at width 1, as the distillation literature runs it on CIFAR:
    a 1x1 stem at full resolution, three stages, each of half the resolution, and a 1x1 convolution.

    Args:
        out_indices: The stages whose maps are given out: 0-2 of the units, 3 the last convolution.
        init_cfg: mmengine's config of the initialization. The reference keeps torch's, as does None.
    """

    def __init__(self, out_indices: Sequence[int] = (3,), init_cfg: dict | list | None = None):
        super().__init__(out_indices, len(STAGES) + 1, init_cfg)
        self.conv1 = nn.Conv2d(3, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        channels = STEM
        for stage, (width, units) in enumerate(STAGES, start=1):
            self.add_module(
                f'layer{stage}', nn.Sequential(DownUnit(channels, width), *(PlainUnit(width) for _ in range(units)))
            )
            channels = width
        self.conv2 = nn.Conv2d(channels, LAST_CHANNELS, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(LAST_CHANNELS)
        self.relu = nn.ReLU()
        self.feat_dim = LAST_CHANNELS

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        yield (x := self.layer1(x))
        yield (x := self.layer2(x))
        yield (x := self.layer3(x))
        yield self.relu(self.bn2(self.conv2(x)))
