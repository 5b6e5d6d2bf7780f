"""Classifiers from anywhere: where they come from, their weights, the CIFAR backbones."""

from . import backbones, classifiers, heads  # noqa: F401  registers them
from .sources import build_network, count_classes, resolve
from .taps import Taps, final_classifier, pre_activation_norms
from .weights import load_weights, read_weights

__all__ = [
    'Taps',
    'build_network',
    'count_classes',
    'final_classifier',
    'load_weights',
    'pre_activation_norms',
    'read_weights',
    'resolve',
]
