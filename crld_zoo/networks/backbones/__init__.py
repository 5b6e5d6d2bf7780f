"""Backbones that mmpretrain lacks: the CIFAR networks of the distillation literature, and MobileNetV1.

They are ordinary mmpretrain backbones (images in, a tuple of feature maps out), used inside ``ImageClassifier``. Their
parameters are named so that the published checkpoints load (see :mod:`crld_zoo.networks.weights`).
"""

from .mobilenet_v1 import MobileNetV1
from .mobilenet_v2 import CIFARMobileNetV2
from .resnet import CIFARResNet
from .shufflenet_v1 import CIFARShuffleNetV1
from .shufflenet_v2 import CIFARShuffleNetV2
from .vgg import CIFARVGG
from .wide_resnet import WideResNet

__all__ = [
    'CIFARMobileNetV2',
    'CIFARResNet',
    'CIFARShuffleNetV1',
    'CIFARShuffleNetV2',
    'CIFARVGG',
    'MobileNetV1',
    'WideResNet',
]
