"""ShuffleNetV1 for images of 32 pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from mmpretrain.models.utils import channel_shuffle
from torch import Tensor, nn

from crld_zoo.registry import MODELS

from .stages import StagedBackbone

STEM, STAGES, GROUPS = 24, ((240, 4), (480, 8), (960, 4)), 3
"""The channels of the stem; channels and units of the stages; groups of the 1x1 convolutions."""


class ShuffleUnit(nn.Module):
    """1x1 convolution in groups, shuffle, depthwise 3x3, 1x1 in groups; added to the input, or, with stride 2,
    put beside the pooled input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int):
        super().__init__()
        self.stride = stride
        own_channels = out_channels - in_channels if stride == 2 else out_channels
        hidden = own_channels // 4
        self.groups = 1 if in_channels == STEM else GROUPS
        self.conv1 = nn.Conv2d(in_channels, hidden, 1, groups=self.groups, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.conv3 = nn.Conv2d(hidden, own_channels, 1, groups=GROUPS, bias=False)
        self.bn3 = nn.BatchNorm2d(own_channels)
        self.relu = nn.ReLU()  # a module, so that what enters it can be tapped

    def forward(self, x: Tensor) -> Tensor:
        out = channel_shuffle(F.relu(self.bn1(self.conv1(x))), self.groups)
        out = F.relu(self.bn2(self.conv2(out)))  # the paper has no activation here; the reference networks do
        out = self.bn3(self.conv3(out))
        if self.stride == 2:
            return self.relu(torch.cat([out, F.avg_pool2d(x, 3, 2, 1)], 1))
        return self.relu(out + x)


@MODELS.register_module()
class CIFARShuffleNetV1(StagedBackbone):
    """`ShuffleNet <https://arxiv.org/abs/1707.01083>`_ with three groups, as the distillation literature runs it on
    CIFAR: a 1x1 stem at full resolution and three stages, each of half the resolution.

    Args:
        out_indices: The stages, 0-2, whose maps are given out.
        init_cfg: mmengine's config of the initialization. The reference keeps torch's, as does None.
    """

    def __init__(self, out_indices: Sequence[int] = (2,), init_cfg: dict | list | None = None):
        super().__init__(out_indices, len(STAGES), init_cfg)
        self.conv1 = nn.Conv2d(3, STEM, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(STEM)
        channels = STEM
        for stage, (width, units) in enumerate(STAGES, start=1):
            self.add_module(
                f'layer{stage}',
                nn.Sequential(
                    ShuffleUnit(channels, width, 2), *(ShuffleUnit(width, width, 1) for _ in range(units - 1))
                ),
            )
            channels = width
        self.feat_dim = channels

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        x = F.relu(self.bn1(self.conv1(x)))
        yield (x := self.layer1(x))
        yield (x := self.layer2(x))
        yield self.layer3(x)
