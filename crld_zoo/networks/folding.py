"""Batch normalization of a frozen network, folded into the convolutions before it."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
_CLOSE = 1e-4  # of an answer's size: rounding changes it by far less, a norm that was folded wrongly by more


@torch.no_grad()
def fold_batch_norms(network: nn.Module, name: str, sizes: Sequence[int]) -> int:
    """Fold every batch norm that directly follows a convolution into it, in place.

    In eval mode a batch norm is a scale and a shift of each channel, which a convolution can do itself: the answers
    stay the same but for rounding, and a ResNet runs a third fewer layers. Which norm follows which convolution is
    seen in one run, whatever the network's code looks like. A norm stays where its convolution serves others as well,
    which is seen by the network's answers.

    Args:
        network: A classifier in eval mode, in float32.
        name: What the log calls it.
        sizes: Sides in pixels of images that it may take, most likely first. If it takes none, all norms stay, and the
            log says so.

    Returns:
        How many were folded.
    """
    if not any(type(module) in _NORMS for module in network.modules()):
        return 0
    image = _first_accepted(network, sizes)
    if image is None:
        print_log(
            f'{name} keeps its batch norms, since it runs on no image with a side of '
            f'{" or ".join(map(str, sizes))} pixels: say its size',
            logger='current',
            level=logging.WARNING,
        )
        return 0
    answer, pairs = network(image), _pairs(network, image)

    def fold(some: list) -> bool:
        paths = {module: path for path, module in network.named_modules()}
        for convolution, norm in some:
            fused, nothing = fuse_conv_bn_eval(convolution, norm), nn.Identity().eval()
            fused.folded_with, nothing.folded_with = paths[norm], paths[convolution]  # which taps ask for
            network.set_submodule(paths[convolution], fused)
            network.set_submodule(paths[norm], nothing)
        if (network(image) - answer).norm() <= _CLOSE * answer.norm():
            return True
        for pair in some:
            for module in pair:
                network.set_submodule(paths[module], module)
        return False

    return len(pairs) if fold(pairs) else sum(fold([pair]) for pair in pairs)


def _first_accepted(network: nn.Module, sizes: Sequence[int]) -> Tensor | None:
    """An image of the first size that the network runs on; no random number is drawn for it."""
    like = next(network.parameters())
    for size in sizes:
        image = torch.linspace(-2, 2, 3 * size * size, device=like.device).view(1, 3, size, size)
        try:
            network(image)
        except (RuntimeError, AssertionError, ValueError):
            continue
        return image
    return None


def _pairs(network: nn.Module, image: Tensor) -> list[tuple[nn.Conv2d, nn.Module]]:
    """Each convolution whose output a batch norm takes as it is."""
    producers: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, Any]] = []
    calls: Counter[nn.Module] = Counter()

    def note(module: nn.Module, inputs: tuple, output: Tensor) -> None:
        calls[module] += 1
        if type(module) is nn.Conv2d:
            producers[id(output)] = module, output  # the output is kept so that its id stays its own
        elif id(inputs[0]) in producers:
            pairs.append((producers[id(inputs[0])][0], module))

    handles = [
        module.register_forward_hook(note)
        for module in network.modules()
        if type(module) is nn.Conv2d or type(module) in _NORMS
    ]
    try:
        network(image)
    finally:
        for handle in handles:
            handle.remove()
    owners = Counter(id(module.weight) for module in network.modules() if type(module) is nn.Conv2d)
    return [
        (convolution, norm)
        for convolution, norm in pairs
        if calls[convolution] == calls[norm] == owners[id(convolution.weight)] == 1 and norm.running_var is not None
    ]
