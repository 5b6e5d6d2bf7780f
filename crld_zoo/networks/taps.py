"""Tensors inside of a network by name, without a change to its code.

A name is one of

==================  ===================================================================================================
``'stage1'`` …      the map ``(N, C, h, w)`` that a stage ends with, the stages counted by resolution: at most the last
                    four. A transformer without maps has four quarters of its blocks, as tokens ``(N, L, C)``
``'stage1:pre'`` …  the same before the activation that the stage ends with; after the norm that follows it in a
                    pre-activation network
``'embedding'``     what enters the linear layer whose output the logits are, ``(N, C)``
``'class_maps'``    that layer at each position of the last map, ``(N, K, h, w)``: their mean over the positions is the
                    logits; ``'class_maps:nobias'`` leaves its bias out
``'layer2.0'``      the output of a module, by its path in the network
``'layer2.0:input'``  the input of a module
==================  ===================================================================================================

Of a module that runs several times, the last run counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError, UnknownNameError, nearest_names

_ACTIVATIONS = (nn.ReLU, nn.ReLU6, nn.SiLU, nn.GELU, nn.Hardswish, nn.LeakyReLU)


class _Run(NamedTuple):
    """One run of a module in the probe."""

    path: str
    module: nn.Module
    input: Tensor | None
    output: Tensor


class Taps:
    """Runs a network and keeps what its taps name.

    Args:
        network: Gives logits ``(N, K)`` for images ``(N, 3, H, W)``.
        names: See the table of this module; none costs nothing.
        probe: Images to find the names with, in the network's mode and without gradient.

    Raises:
        UnknownNameError: There is no such tensor; the nearest names are given.
        InputError: The network has no such stage, embedding or class map.

    Example:
        >>> from crld_zoo.networks import build_network
        >>> network = build_network('crld_zoo::resnet8', num_classes=10).eval()
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> logits, features = Taps(network, ['stage2', 'embedding'], images).run(network, images)
        >>> {name: tuple(feature.shape) for name, feature in features.items()}
        {'stage2': (2, 32, 16, 16), 'embedding': (2, 64)}
    """

    def __init__(self, network: nn.Module, names: Sequence[str], probe: Tensor | None = None) -> None:
        # Modules by path: who converts or folds a network puts others in their places.
        self._network = network
        self._hooks: list[tuple[str, str, str]] = []  # path, 'input' or 'output', the name it is kept under
        self._names = tuple(names)
        self._class_maps: dict[str, tuple[str, str, bool]] = {}
        if not names:
            return
        runs, logits = _probe(network, probe)
        for name in names:
            self._resolve(name, network, runs, logits)
        self._check(network, probe)

    def run(self, call: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits of a call of the network, and its features by name."""
        found: dict[str, Tensor] = {}

        def keep(name: str, side: str):
            def hook(module: nn.Module, inputs: tuple, output) -> None:
                tensor = inputs[0] if side == 'input' else output
                found[name] = tensor.clone() if name in self._changed else tensor

            if side == 'output':
                return hook
            return lambda module, inputs: hook(module, inputs, None)

        handles = [self._hook(path, side, keep(name, side)) for path, side, name in self._hooks]
        try:
            logits = call(images)
        finally:
            for handle in handles:
                handle.remove()
        for name, (last_map, linear, with_bias) in self._class_maps.items():
            linear = self._network.get_submodule(linear)
            bias = linear.bias if with_bias else None
            found[name] = F.conv2d(found[last_map], linear.weight[:, :, None, None], bias)
        return logits, {name: found[name] for name in self._names}

    _changed: frozenset[str] = frozenset()

    def _hook(self, path: str, side: str, hook: Callable):
        module = self._network.get_submodule(path)
        return module.register_forward_pre_hook(hook) if side == 'input' else module.register_forward_hook(hook)

    def _resolve(self, name: str, network: nn.Module, runs: list[_Run], logits: Tensor) -> None:
        if name == 'embedding':
            self._hooks.append((_classifier(runs, logits, network).path, 'input', name))
        elif name.startswith('class_maps'):
            if name not in ('class_maps', 'class_maps:nobias'):
                raise UnknownNameError(f"no tap '{name}' (nearest: class_maps, class_maps:nobias)")
            classifier, last = _classifier(runs, logits, network), _stages(runs)[-1:]
            if not last or last[0].output.shape[1] != classifier.module.in_features:
                raise InputError(
                    f'{type(network).__name__} has no class maps: they need a linear classifier after the mean of the '
                    'last map'
                )
            hidden = f'{name} of'
            self._hooks.append((last[0].path, 'output', hidden))
            self._class_maps[name] = (hidden, classifier.path, name == 'class_maps')
        elif name.startswith('stage') and name.removeprefix('stage').removesuffix(':pre').isdigit():
            self._resolve_stage(name, network, runs)
        else:
            path, _, side = name.partition(':')
            modules = {run.path for run in runs}
            if path not in modules or side not in ('', 'input'):
                stages = [f'stage{number + 1}' for number in range(len(_stages(runs)))]
                near = nearest_names(name, [*modules, *stages, 'embedding'])
                raise UnknownNameError(
                    f"{type(network).__name__} has no tap '{name}' ({near}); it has {', '.join(stages) or 'no stages'}"
                )
            self._hooks.append((path, side or 'output', name))

    def _resolve_stage(self, name: str, network: nn.Module, runs: list[_Run]) -> None:
        stages = _stages(runs)
        number = int(name.removeprefix('stage').removesuffix(':pre'))
        if not 1 <= number <= len(stages):
            have = f'stage1 to stage{len(stages)}' if stages else 'no stages: name modules by their paths'
            raise UnknownNameError(f"{type(network).__name__} has no '{name}'; it has {have}")
        stage = stages[number - 1]
        if not name.endswith(':pre'):
            self._hooks.append((stage.path, 'output', name))
            return
        ends = [run for run in runs if isinstance(run.module, _ACTIVATIONS) and _same(run.output, stage.output)]
        norms = [run for run in runs if isinstance(run.module, nn.BatchNorm2d) and _same(run.input, stage.output)]
        if ends:
            self._hooks.append((ends[-1].path, 'input', name))
        elif norms:  # a pre-activation network, whose next stage begins with its norm
            self._hooks.append((norms[0].path, 'output', name))
        else:
            raise InputError(
                f"{type(network).__name__} has no '{name}': its stage {number} ends with no activation that is a module"
            )

    def _check(self, network: nn.Module, probe: Tensor) -> None:
        """Find what is changed in place after it was seen, and see that class maps have the logits as their mean."""
        with torch.no_grad():
            versions: dict[str, tuple[Tensor, int]] = {}

            def note(name: str, tensor: Tensor) -> None:
                if not isinstance(tensor, Tensor):
                    raise InputError(f"the tap '{name}' of {type(network).__name__} is no tensor")
                versions[name] = (tensor, tensor._version)

            handles = [
                self._hook(path, side, lambda _, x, y=None, name=name: note(name, x[0] if y is None else y))
                for path, side, name in self._hooks
            ]
            try:
                network(probe)
            finally:
                for handle in handles:
                    handle.remove()
            self._changed = frozenset(name for name, (tensor, seen) in versions.items() if tensor._version > seen)
            if self._class_maps:
                logits, features = self.run(network, probe)
                for name in self._class_maps:
                    mean = features[name].mean((2, 3))
                    bias = network.get_submodule(self._class_maps[name][1]).bias
                    if name.endswith('nobias') and bias is not None:
                        mean = mean + bias
                    if not torch.allclose(mean, logits, rtol=1e-3, atol=1e-3 * float(logits.abs().max())):
                        raise InputError(
                            f'{type(network).__name__} has no class maps: its logits are not the mean of its '
                            'classifier over the positions of its last map'
                        )


def _probe(network: nn.Module, images: Tensor) -> tuple[list[_Run], Tensor]:
    """Every run of a module that gives a tensor, in the order of their ends, and the logits."""
    runs: list[_Run] = []

    def note(path: str):
        def hook(module: nn.Module, inputs: tuple, output) -> None:
            if isinstance(output, Tensor):
                first = inputs[0] if inputs and isinstance(inputs[0], Tensor) else None
                runs.append(_Run(path, module, first, output))

        return hook

    handles = [module.register_forward_hook(note(path)) for path, module in network.named_modules() if path]
    try:
        with torch.no_grad():
            logits = network(images)
    finally:
        for handle in handles:
            handle.remove()
    return runs, logits


def _same(one: Tensor, other: Tensor) -> bool:
    return one is other or (one.data_ptr() == other.data_ptr() and one.shape == other.shape)


def _classifier(runs: list[_Run], logits: Tensor, network: nn.Module) -> _Run:
    for run in reversed(runs):
        if isinstance(run.module, nn.Linear) and _same(run.output, logits) and run.input.dim() == 2:
            return run
    raise InputError(
        f'{type(network).__name__} has no embedding: its logits are not the output of a linear layer; name the module '
        "that gives the features, by its path, or its input, '<path>:input'"
    )


def _stages(runs: list[_Run]) -> list[_Run]:
    """The run that each of the last four stages ends with."""
    blocks = _quarters(runs)
    if blocks:
        return blocks
    maps = [run for run in runs if run.output.dim() == 4 and min(run.output.shape[2:]) > 1]
    stages: dict[int, list[_Run]] = {}
    for run in maps:
        side = run.output.shape[-1]
        if side <= min(stages, default=side) and not any(_shrinks_over(outer, run) for outer in maps):
            stages.setdefault(side, []).append(run)
    ends = [stage[-1] for stage in stages.values() if not _is_stem(stage)]
    return ends[-4:]


def _is_stem(stage: list[_Run]) -> bool:
    """Whether it is one convolution with its norm and activation, before the first block."""
    convolutions = sum(isinstance(run.module, nn.Conv2d) for run in stage)
    inside = [module for module in stage[-1].module.children() if not isinstance(module, nn.Identity)]
    return convolutions <= 1 and not any(isinstance(module, nn.Conv2d) for module in inside)


def _shrinks_over(outer: _Run, inner: _Run) -> bool:
    """Whether a module stands inside of a block or stage that ends with another resolution."""
    if not inner.path.startswith(f'{outer.path}.') or outer.output.shape[2:] == inner.output.shape[2:]:
        return False
    if outer.input is None or outer.input.dim() != 4:
        return False
    return outer.input.shape[-1] <= 4 * outer.output.shape[-1]  # what shrinks more holds all stages


def _quarters(runs: list[_Run]) -> list[_Run]:
    """Four of the longest row of transformer blocks, which stand beside each other and are of one class."""
    rows: dict[tuple, list[_Run]] = {}
    for run in runs:
        parent, _, number = run.path.rpartition('.')
        if run.output.dim() == 3 and number.isdigit():
            rows.setdefault((parent, type(run.module)), []).append(run)
    row = max(rows.values(), key=len, default=[])
    return [row[len(row) * quarter // 4 - 1] for quarter in (1, 2, 3, 4)] if len(row) >= 4 else []
