"""Tensors from inside a network by name, whatever library it comes from and without a change to its code.

=====================  ================================================================================================
``'stage1'`` …         what a stage ends with: the network's own stages (``layer1``, ``stages.0``, …), else the last
                       tensor of each resolution, at most the last four. A map ``(N, C, h, w)``, also where the library
                       keeps the channels last; tokens ``(N, L, C)`` in a transformer, whose stages are quarters of its
                       blocks if they all have one resolution
``'stage1:pre'`` …     the same before the activation that the stage ends with; in a pre-activation network after the
                       norm that the next stage begins with; the same tensor where a stage ends with no activation
``'last_map'``         the map ``(N, C, h, w)`` whose mean over the positions is the embedding
``'embedding'``        what enters the linear layer whose output the logits are, ``(N, C)``
``'class_maps'``       that layer at each position of the last map, ``(N, K, h, w)``: their mean is the logits;
                       ``'class_maps:nobias'`` leaves its bias out
``'class_head'``       where the logits are the mean of two linear layers, the output of the first, that of the class
                       token, ``(N, K)``
``'dist_head'``        the output of the second, that of the distillation token
``'layer2.0'``         the output of a module, by its path in the network; the first tensor, where it gives several
``'layer2.0:input'``   the first input of a module
=====================  ================================================================================================

Of a module that runs several times the last run counts. All names are found in one run of a probe batch, so nothing is
assumed of a library; what the network changes in place later on is copied when it is seen.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from crld_zoo.errors import InputError, UnknownNameError, nearest_names

_STAGE = re.compile(r'stage(\d+)(:pre)?')
_MOST_STAGES = 4
_HEADS = ('class_head', 'dist_head')
_OWN_STAGES = re.compile(r'(?:.*\.)?(?:(?:layer|stage)_?[1-4]|(?:stages|levels)\.[0-3])')
"""Paths of modules that a library itself calls stages; only if there are no more than four of a kind side by side."""


class _Call(NamedTuple):
    """The last run of a module in the probe."""

    path: str
    module: Any  # of a library, with attributes of its own
    input: Any  # the tensor among its arguments; None if there is none
    output: Any


class _Source(NamedTuple):
    """Where a tensor comes from."""

    path: str
    side: str  # 'input' or 'output'
    channels_last: bool = False


class Taps:
    """Runs a network and keeps the tensors that the names ask for; no names, no hooks.

    Args:
        network: Gives logits ``(N, K)`` for images ``(N, 3, H, W)``.
        names: See the table of this module.
        probe: Images to find the tensors with, in eval mode and without gradient. Nothing of the network changes.

    Raises:
        UnknownNameError: There is no such tensor; the nearest names and the stages are given.
        InputError: The network has no embedding, no class maps, or folding has taken the tensor away.

    Example:
        >>> from crld_zoo.networks import build_network
        >>> network = build_network('crld_zoo::resnet8', num_classes=10)
        >>> images = torch.zeros(2, 3, 32, 32)
        >>> logits, features = Taps(network, ['stage2', 'embedding'], images).run(network, images)
        >>> {name: tuple(feature.shape) for name, feature in features.items()}
        {'stage2': (2, 32, 16, 16), 'embedding': (2, 64)}
    """

    def __init__(self, network: nn.Module, names: Sequence[str], probe: Tensor | None = None) -> None:
        self.names = tuple(names)
        self._network = network
        self._sources: dict[str, _Source] = {}
        self._copied: frozenset[str] = frozenset()
        self._classifier = ''
        if not names:
            return
        if probe is None:
            raise InputError(f'the taps {", ".join(names)} are found with a batch of images: give a probe')
        seen = _Probe(network, probe)
        for name in names:
            kept = 'last_map' if name.startswith('class_maps') else name
            self._sources[kept] = seen.find(name)
        if any(name.startswith('class_maps') for name in names):
            self._classifier = seen.classifier().path
        # The last map was compared after the run, so it counts as the network leaves it.
        self._copied = frozenset(
            name for name, source in self._sources.items() if name != 'last_map' and seen.is_changed(source)
        )

    def on(self, network: nn.Module) -> Taps:
        """The same taps on a copy of the network."""
        taps = copy.copy(self)
        taps._network = network
        return taps

    def run(self, call: Callable[[Tensor], Tensor], images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits of one call that runs the network, and its tensors by name.

        The hooks live as long as the call: deep copies, validation and saved networks never meet them, and a module
        that folding or conversion has put in another's place is found by its path.
        """
        if not self.names:
            return call(images), {}
        found: dict[str, Tensor] = {}

        def keep(name: str, value: Tensor | None) -> None:
            if value is not None:
                found[name] = value.clone() if name in self._copied else value

        handles = []
        try:
            for name, source in self._sources.items():
                module = self._network.get_submodule(source.path)
                if source.side == 'input':
                    hook = module.register_forward_pre_hook(
                        lambda _, inputs, kwargs, name=name: keep(name, _tensor((*inputs, *kwargs.values()))),
                        with_kwargs=True,
                    )
                else:
                    hook = module.register_forward_hook(
                        lambda _, inputs, output, name=name: keep(name, _tensor(output))
                    )
                handles.append(hook)
            logits = call(images)
        finally:
            for handle in handles:
                handle.remove()
        missing = self._sources.keys() - found.keys()
        if missing:
            raise InputError(f'{_title(self._network)} ran without {", ".join(sorted(missing))}, which the probe ran')
        for name, source in self._sources.items():
            if source.channels_last:
                found[name] = found[name].permute(0, 3, 1, 2)
        return logits, {
            name: self._class_maps(found, name) if 'class_maps' in name else found[name] for name in self.names
        }

    def _class_maps(self, found: Mapping[str, Tensor], name: str) -> Tensor:
        linear: Any = self._network.get_submodule(self._classifier)
        bias = None if name.endswith(':nobias') else linear.bias
        return F.conv2d(found['last_map'], linear.weight.flatten(1)[:, :, None, None], bias)


def pre_activation_norms(network: nn.Module, probe: Tensor) -> list[nn.BatchNorm2d]:
    """The batch norm behind each ``'stageN:pre'``, of which OFD reads the scale and shift.

    It is the norm that gives that tensor or, in a residual network, the last norm of the branch that is added to the
    shortcut.

    Args:
        network: As for :class:`Taps`, before its norms are folded.
        probe: Images to find them with.

    Raises:
        InputError: A stage ends with no norm of all of its channels.
    """
    seen = _Probe(network, probe)
    norms = []
    for number in range(1, len(seen.stages) + 1):
        source = seen.find(f'stage{number}:pre')
        tensor = seen.tensor(source)
        end = next(index for index, call in enumerate(seen.calls) if call.path == source.path)
        before = [
            call
            for index, call in enumerate(seen.calls)
            if (index <= end or source.path.startswith(f'{call.path}.'))  # timm's norms hold their activation
            and isinstance(call.module, nn.modules.batchnorm._BatchNorm)
            and (call.output is tensor or not re.search('downsample|shortcut', call.path))
        ]
        if not before or before[-1].module.num_features != tensor.shape[1]:
            raise InputError(
                f'stage {number} of {_title(network)} does not end with a batch norm of its '
                f'{tensor.shape[1]} channels, whose scale and shift the method needs'
            )
        norms.append(before[-1].module)
    return norms


def final_classifier(network: nn.Module, probe: Tensor) -> tuple[Tensor, Tensor]:
    """The weight ``(K, C)`` and the bias ``(K,)`` of the linear layer whose output the logits are.

    Args:
        network: As for :class:`Taps`.
        probe: Images to find it with.

    Raises:
        InputError: There is no such layer.
    """
    layer = _Probe(network, probe).classifier().module
    weight = layer.weight.detach().flatten(1)
    return weight, weight.new_zeros(len(weight)) if layer.bias is None else layer.bias.detach()


class _Probe:
    """One run of a network, with every tensor that its modules took and gave."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self.network = network
        last: dict[str, _Call] = {}
        versions: list[tuple[Tensor, int]] = []
        in_place: list[Tensor] = []

        def enter(module: nn.Module, inputs: tuple, kwargs: dict) -> None:
            value = _tensor((*inputs, *kwargs.values()))
            entered.append(value)
            if value is not None:
                versions.append((value, value._version))
                if getattr(module, 'inplace', False):  # dropout acts in training only, and would go unnoticed here
                    in_place.append(value)

        def leave(path: str) -> Callable:
            def hook(module: nn.Module, inputs: tuple, output) -> None:
                value = _tensor(output)
                last.pop(path, None)
                last[path] = _Call(path, module, entered.pop(), value)
                if value is not None:
                    versions.append((value, value._version))

            return hook

        entered: list[Tensor | None] = []
        handles = []
        with _undisturbed(network), torch.no_grad():
            try:
                for path, module in network.named_modules():
                    if path and not isinstance(module, torch.jit.ScriptModule):
                        handles.append(module.register_forward_pre_hook(enter, with_kwargs=True))
                        handles.append(module.register_forward_hook(leave(path)))
                self.logits = network(images)
            finally:
                for handle in handles:
                    handle.remove()
        self.calls = list(last.values())
        self._by_path = last
        self._changed = [value for value, version in versions if value._version > version] + in_place
        self._images = len(images)
        self.stages = self._stages()

    def tensor(self, source: _Source) -> Tensor:
        """The tensor of a source."""
        call = self._by_path[source.path]
        return call.input if source.side == 'input' else call.output

    def is_changed(self, source: _Source) -> bool:
        """Whether the network changes it in place after it was given out."""
        return any(value is self.tensor(source) for value in self._changed)

    def find(self, name: str) -> _Source:
        """Where the tensor of a name comes from."""
        stage = _STAGE.fullmatch(name)
        if stage and 1 <= int(stage[1]) <= len(self.stages):
            call = self.stages[int(stage[1]) - 1]
            return self._before_activation(call) if stage[2] else self._as_map(call.path, 'output')
        if name == 'embedding':
            return _Source(self.classifier().path, 'input')
        if name in _HEADS:
            return _Source(self.heads()[_HEADS.index(name)].path, 'output')
        if name in ('last_map', 'class_maps', 'class_maps:nobias'):
            return self._last_map()
        path, _, side = name.partition(':')
        tapped = self._by_path.get(path)
        if tapped is None or side not in ('', 'input') or (tapped.input if side else tapped.output) is None:
            raise UnknownNameError(self._unknown(name))
        folded = getattr(tapped.module, 'folded_with', None)
        if folded and (side == 'input') == isinstance(tapped.module, nn.Identity):
            raise InputError(
                f"the tap '{name}' of {_title(self.network)} lies between a convolution and its batch norm ({folded}), "
                'which are folded into one: tap the norm, or leave the folding out (fold=False)'
            )
        return _Source(path, side or 'output')

    def classifier(self) -> _Call:
        """The linear layer, or 1x1 convolution, whose output the logits are."""
        for call in reversed(self.calls):
            if (
                isinstance(call.module, nn.Linear | nn.Conv2d)
                and call.input is not None
                and _same(call.output, self.logits)
            ):
                return call
        raise InputError(
            f'the logits of {_title(self.network)} are not the output of one linear layer, so it has no embedding and '
            "no class maps: tap a module by its path, or its input by '<path>:input'"
        )

    def heads(self) -> list[_Call]:
        """The two linear layers whose mean the logits are, in the order in which they run."""
        heads = [
            call
            for call in self.calls
            if isinstance(call.module, nn.Linear) and call.output is not None and call.output.shape == self.logits.shape
        ][-2:]
        if len(heads) < 2 or not _close((heads[0].output + heads[1].output) / 2, self.logits):
            raise InputError(
                f'the logits of {_title(self.network)} are not the mean of two linear layers, so it has no '
                'distillation token: take a student with one, timm::deit_tiny_distilled_patch16_224 say'
            )
        return heads

    def _last_map(self) -> _Source:
        linear = self.classifier()
        embedding = linear.input.flatten(1)
        fitting: list[tuple[int, int, _Source]] = []
        for call in self.calls:
            if call.output is not None and call.output.dim() == 4 and len(call.output) == self._images:
                source = self._as_map(call.path, 'output')
                value = call.output.permute(0, 3, 1, 2) if source.channels_last else call.output
                if value.shape[1] == embedding.shape[1] and _close(value.mean((2, 3)), embedding):
                    fitting.append((value.shape[2:].numel(), len(fitting), source))
        # The largest: a pooled map is its own mean. If all are pooled, layers follow the pooling.
        largest = max(fitting, default=None)
        if largest is None or largest[0] <= 1 < (self.stages[-1].output.shape[2:].numel() if self.stages else 1):
            raise InputError(
                f'{_title(self.network)} does not classify the mean of its last map by one linear layer, so it has no '
                'class maps'
            )
        return largest[2]

    def _as_map(self, path: str, side: str) -> _Source:
        value = self.tensor(_Source(path, side))
        channels_last = value.dim() == 4 and value.shape[1] == value.shape[2] != value.shape[3]
        return _Source(path, side, channels_last)

    def _before_activation(self, stage: _Call) -> _Source:
        for call in self.calls:
            if _is_activation(call.module) and call.output is stage.output:
                return self._as_map(call.path, 'input')
        for call in self.calls:
            if isinstance(call.module, nn.modules.batchnorm._BatchNorm) and call.input is stage.output:
                return self._as_map(call.path, 'output')
        return self._as_map(stage.path, 'output')

    def _stages(self) -> list[_Call]:
        """The calls whose outputs the stages end with."""
        for module in self.network.modules():
            own = getattr(module, 'stage_taps', None)  # the zoo's backbones name theirs
            if own:
                prefix = next(path for path, other in self.network.named_modules() if other is module)
                return [self._by_path[f'{prefix}.{path}'.lstrip('.')] for path in own]
        families: dict[tuple[str, int], list[_Call]] = {}
        for call in self.calls:
            if call.output is not None and call.output.dim() in (3, 4) and len(call.output) == self._images:
                families.setdefault((call.path.rpartition('.')[0], call.output.dim()), []).append(call)
        named = [
            own
            for family in families.values()
            if len(own := [call for call in family if _OWN_STAGES.fullmatch(call.path)]) > 1
            and len(own) == sum(bool(re.search(r'\d$', call.path)) and _like(call, own[0]) for call in family)
            and len({_resolution(call) for call in own}) > 1
        ]
        if named:
            return max(named, key=len)
        ends = [_ends(family) for family in families.values()]
        best = max(ends, key=len, default=[])
        blocks = [
            [call for call in family if call.path[-1].isdigit() and type(call.module) is type(family[-1].module)]
            for (_, dimensions), family in families.items()
            if dimensions == 3
        ]
        row = max(blocks, key=len, default=[])
        if len(best) < 3 and len(row) >= _MOST_STAGES:
            return [row[len(row) * quarter // _MOST_STAGES - 1] for quarter in range(1, _MOST_STAGES + 1)]
        return best[-_MOST_STAGES:]

    def _unknown(self, name: str) -> str:
        stages = [f'stage{number}' for number in range(1, len(self.stages) + 1)]
        near = nearest_names(
            name, [*self._by_path, *stages, 'embedding', 'last_map', 'class_maps', 'class_maps:nobias', *_HEADS]
        )
        return (
            f"{_title(self.network)} has no tap '{name}' ({near}); it has "
            f'{"the stages " + ", ".join(stages) if stages else "no stages"}, and each of its modules by its path'
        )


def _ends(family: Sequence[_Call]) -> list[_Call]:
    """Of modules beside each other, the last of each resolution; what only pools or flattens ends nothing."""
    by_resolution: dict[tuple, list[_Call]] = {}
    for call in family:
        by_resolution.setdefault(_resolution(call), []).append(call)
    ends = []
    for calls in by_resolution.values():
        if any(any(True for _ in call.module.parameters()) for call in calls):
            ends.append([c for c in calls if _is_activation(c.module) or any(True for _ in c.module.parameters())][-1])
    return ends


def _resolution(call: _Call) -> tuple[int, ...]:
    shape = call.output.shape
    if len(shape) == 3:
        return (shape[1],)
    return tuple(shape[1:3] if shape[1] == shape[2] != shape[3] else shape[2:])


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= 1e-3 * other.norm())


def _like(call: _Call, other: _Call) -> bool:
    """Whether two paths differ in their last number alone."""
    return re.sub(r'\d+$', '', call.path) == re.sub(r'\d+$', '', other.path)


def _is_activation(module: nn.Module) -> bool:
    return type(module).__module__ == 'torch.nn.modules.activation' and not isinstance(module, nn.MultiheadAttention)


def _same(output: Tensor | None, logits: Tensor) -> bool:
    """Whether the logits are this tensor, or a view of all of it."""
    return (
        isinstance(output, Tensor)
        and isinstance(logits, Tensor)
        and (output is logits or (output.data_ptr() == logits.data_ptr() and output.numel() == logits.numel()))
    )


def _tensor(value) -> Tensor | None:
    """The first tensor of what a module takes or gives."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        value = tuple(value.values())
    return next((item for item in value if isinstance(item, Tensor)), None) if isinstance(value, tuple | list) else None


def _title(network: nn.Module) -> str:
    inner = getattr(network, 'backbone', getattr(network, 'model', network))
    return type(inner).__name__


@contextmanager
def _undisturbed(network: nn.Module) -> Iterator[None]:
    """Eval mode for a while; each module then has its own mode again."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
