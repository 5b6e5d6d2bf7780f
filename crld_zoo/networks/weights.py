"""Weights from files of every common layout, with nothing dropped in silence.

A file is recognized by its keys, not by its name. Understood are

- plain state dicts, ``.safetensors`` files, and dicts that hold the weights under ``state_dict``, ``model``, … ;
- mmpretrain's and MMEngine's checkpoints (``backbone.``, ``head.fc.``), torchvision's, timm's, mdistiller's CIFAR
  archives (``{'model': …}``), and this zoo's own training checkpoints;
- prefixes left by wrappers (``module.``, ``_orig_mod.``), and averaged (EMA) weights, which are preferred where the
  file has both.

Whatever is left over, missing or of another shape is an error: a teacher that is random in part is the classic
failure of distillation, and it never announces itself.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlparse

import torch
from mmengine.logging import print_log
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from crld_zoo.checkpoint_files import read_checkpoint
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import MODELS

from .backbones.zoo import ZOO, classifier_config

WRAPPERS = ('state_dict_ema', 'model_ema', 'ema', 'state_dict', 'model', 'model_state_dict', 'net', 'network')
"""Keys under which files keep the weights, the averaged ones first. MMEngine stores its averaged weights as
``state_dict`` and the raw ones as ``ema_state_dict``, so they need no entry."""

NOT_WEIGHTS = re.compile(r'(?:distiller|data_preprocessor)\.|(?:n_averaged|steps)$')
"""What a training checkpoint holds beside the network: a distiller's own parameters, an averager's counter."""

RENAMES = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r'^backbone\.', ''),
        (r'^(?:head\.fc|linear|classifier|classifier\.0)\.(weight|bias)$', r'fc.\1'),
        (r'\.shortcut\.(\d)\.', r'.downsample.\1.'),
        (r'^block(\d)\.layer\.', r'block\1.'),
        (r'(denselayer\d+\.(?:norm|conv))\.(\d)\.', r'\1\2.'),  # torchvision's published files
        (r'\.convShortcut\.', r'.shortcut.'),
        (r'^model\.(\d+)\.', r'layers.\1.'),
    )
)
"""How the layouts differ in naming the same parameter; applied to the file's keys and to the network's alike."""

_AUXILIARY = re.compile(r'(?:aux\d|AuxLogits)\.')
"""Classifiers for training alone, which networks are built without."""

SHOWN_KEYS = 10


def load_weights(
    network: nn.Module,
    checkpoint: str | os.PathLike,
    *,
    trust_pickle: bool = False,
    prefix: str | None = None,
    new: Collection[str] = (),
) -> None:
    """Load a checkpoint of any known layout into a network, all of it, into all of it.

    Args:
        network: A classifier, in mmpretrain's, torchvision's or timm's naming of its parameters, or a part of one.
        checkpoint: A path or a URL.
        trust_pickle: Allow a file that runs code while it is read. Only for a file whose origin you trust.
        prefix: Which part of the file it is, by the beginning of its keys: ``'student.'``. Found by itself where only
            one part fits.
        new: The network's parameters that keep their values, as a classifier for other classes does.

    Raises:
        MissingFileError: There is no such file.
        InputError: The file cannot be read, holds another architecture or another number of classes, or does not
            fill the network exactly; several parts of it fit.
    """
    path = locate(checkpoint)
    weights = read_weights(path, trust_pickle=trust_pickle)
    fill(network, weights, str(path), prefix=prefix, new=new)


def fill(
    network: nn.Module,
    weights: Mapping[str, Tensor],
    source: str,
    *,
    prefix: str | None = None,
    new: Collection[str] = (),
) -> None:
    """Fill a network with weights in any known naming; see :func:`load_weights`.

    Args:
        network: As there.
        weights: The weights, with the ``_metadata`` of a state dict if they have it.
        source: Where they come from, for the log and the errors.
        prefix: As there.
        new: As there.
    """
    state = network.state_dict()
    own = {key: value.shape for key, value in state.items()}
    weights = _part(weights, own, source, prefix)
    names = _own_names(weights, own)
    renamed = _StateDict((names[key], value) for key, value in weights.items())
    dropped = [key for key in renamed if key not in own and _AUXILIARY.match(key)]
    for key in (*dropped, *new):
        renamed.pop(key, None)
    for key in own:
        if key in new or (key.endswith('num_batches_tracked') and key not in renamed):  # older than torch's count
            renamed[key] = state[key]
    renamed._metadata = _versions(state, weights, names)
    try:
        fits = network.load_state_dict(renamed, strict=False) == ([], [])
    except RuntimeError as error:
        if 'size mismatch' not in str(error):
            raise
        fits = False
    if not fits:
        raise InputError(_misfit(source, {key: value.shape for key, value in renamed.items()}, own))
    kept = f', all but {_listed(new)}' if new else ''
    print_log(f'loaded {len(weights) - len(dropped)} tensors of {source}{kept}', logger='current')


class _StateDict(OrderedDict[str, Tensor]):
    """Weights by name, with the versions of the modules beside them, as torch keeps them."""

    _metadata: dict


def _versions(state: Mapping, weights: Mapping[str, Tensor], names: Mapping[str, str]) -> dict:
    """The version of each module, which torch reads while it loads: the file's where it says, else the network's."""
    versions = OrderedDict(getattr(state, '_metadata', {}))
    saved = getattr(weights, '_metadata', {})
    moved = {key.rpartition('.')[0]: own.rpartition('.')[0] for key, own in names.items()} | {'': ''}
    for path, version in saved.items():
        if moved.get(path) in versions:
            versions[moved[path]] = version
    return versions


def _part(weights: Mapping[str, Tensor], own: Mapping[str, torch.Size], source: str, prefix: str | None) -> Mapping:
    """What of the weights is the network's: those under the prefix, or under the only one that fits."""
    if prefix is not None:
        prefix = prefix.rstrip('.') + '.'
        part = _under(weights, prefix)
        if not part:
            there = dict.fromkeys(key.partition('.')[0] + '.' for key in weights)
            raise InputError(f"{source} has no key that begins with '{prefix}'; its keys begin with {_listed(there)}")
        return part
    wanted = _signature(own)
    if not wanted or _signature(_shapes(weights)).keys() >= wanted.keys():
        return weights
    parts = {
        start: part
        for start in dict.fromkeys(f'{key.partition(".")[0]}.' for key in weights)
        if _signature(_shapes(part := _under(weights, start))).keys() == wanted.keys()
    }
    same = {start: part for start, part in parts.items() if _signature(_shapes(part)) == wanted}
    parts = same or parts
    if len(parts) > 1:
        raise InputError(f'{source} holds several networks that fit: say which by prefix=… ({_listed(parts)})')
    for start, part in parts.items():
        print_log(f"{source}: the weights are those under '{start}'", logger='current')
        return part
    return weights


def _under(weights: Mapping[str, Tensor], prefix: str) -> _StateDict:
    part = _StateDict((key.removeprefix(prefix), value) for key, value in weights.items() if key.startswith(prefix))
    versions = getattr(weights, '_metadata', {})
    part._metadata = {
        path.removeprefix(prefix) if path.startswith(prefix) else '': version
        for path, version in versions.items()
        if path.startswith(prefix) or path == prefix[:-1]
    }
    return part


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, torch.Size]:
    return {key: value.shape for key, value in weights.items()}


def locate(checkpoint: str | os.PathLike) -> Path:
    """The local file of a path or URL; a URL is downloaded once, into torch hub's folder of checkpoints.

    A name without a folder is looked up in the working directory and then in torch hub's folder, where the libraries
    keep their downloads.

    Raises:
        MissingFileError: There is no such file.
        InputError: The URL cannot be reached.
    """
    hub = Path(torch.hub.get_dir(), 'checkpoints')
    if re.match(r'https?://', str(checkpoint)):
        return _download(str(checkpoint), hub)
    path = Path(checkpoint).expanduser()
    candidates = (path, hub / path) if path.name == str(path) else (path,)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    looked = ' and '.join(str(candidate.absolute()) for candidate in candidates)
    recipe = next(Path('configs').rglob(f'{path.parent.name}.py'), None)  # a run's folder has its recipe's name
    remedy = f'make it with `python tools/train.py {recipe}`' if recipe else 'correct the path, or put the file there'
    raise MissingFileError(f"no checkpoint '{checkpoint}': looked for {looked}; {remedy}")


def _download(url: str, hub: Path) -> Path:
    path = hub / Path(urlparse(url).path).name
    if not path.is_file():
        hub.mkdir(parents=True, exist_ok=True)
        digest = re.search(r'-([a-f0-9]{8,})\.', path.name)  # the convention of torch hub and of OpenMMLab
        try:
            torch.hub.download_url_to_file(url, str(path), digest and digest[1], progress=False)
        except (OSError, RuntimeError) as error:  # RuntimeError: the digest of the download is wrong
            raise InputError(
                f'cannot download {url} ({error}); fetch it on a machine with a network, '
                f'for example with `curl -L -o {path.name} {url}`, and save it as {path}'
            ) from error
    return path


def read_weights(path: str | os.PathLike, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """The state dict inside a checkpoint file, without wrappers' prefixes and without what belongs to no network.

    Args:
        path: A local file.
        trust_pickle: See :func:`load_weights`.

    Raises:
        InputError: The file is truncated, is no checkpoint, or wants to run code.
    """
    path = Path(path)
    content = read_checkpoint(path, trust_pickle)
    weights = _unwrap(content)
    if not weights:
        held = f'a dict with the keys {_listed(content)}' if isinstance(content, Mapping) else type(content).__name__
        raise InputError(
            f'{path} holds no weights but {held}; expected a state dict, or one under any of {", ".join(WRAPPERS)}'
        )
    return weights


def _unwrap(content) -> dict[str, Tensor]:
    """The weights in what a file holds, {} if there are none."""
    if isinstance(content, nn.Module):  # only a trusted pickle holds one
        content = content.state_dict()
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS:
        inner = _unwrap(content.get(wrapper))
        if inner:
            return inner
    weights = _StateDict(
        (_without_wrapper(key), value)
        for key, value in content.items()
        if isinstance(key, str) and isinstance(value, Tensor) and not NOT_WEIGHTS.match(_without_wrapper(key))
    )
    versions = getattr(content, '_metadata', None)
    if versions:
        weights._metadata = {_without_wrapper(f'{path}.')[:-1]: version for path, version in versions.items()}
    if weights and all(key.startswith('model.') for key in weights):
        weights = _under(weights, 'model.')
    return weights


def _without_wrapper(key: str) -> str:
    return re.sub(r'^(?:(?:module|_orig_mod)\.)+', '', key)


def _neutral(keys: Iterable[str]) -> list[str]:
    """Each parameter's name in the one naming that all layouts are compared in."""
    names = []
    for key in keys:
        for pattern, replacement in RENAMES:
            key = pattern.sub(replacement, key)
        names.append(key)
    return names


def _own_names(weights: Mapping[str, Tensor], own: Iterable[str]) -> dict[str, str]:
    """By the weights' names, the network's; those that it has no name for, or that come twice, keep theirs."""
    neutral_names = dict(zip(_neutral(own), own, strict=True))
    names = {key: key for key in weights if key in neutral_names.values()}
    for neutral, key in zip(_neutral(weights), weights, strict=True):
        if key not in names:
            name = neutral_names.get(neutral, key)
            names[key] = key if name in names.values() else name
    return names


def _misfit(path: str, found: Mapping[str, torch.Size], own: Mapping[str, torch.Size]) -> str:
    """Why a checkpoint does not fill a network, in one sentence."""
    missing = [key for key in own if key not in found and not key.endswith('num_batches_tracked')]
    unexpected = [key for key in found if key not in own]
    shapes = [key for key in own if key in found and own[key] != found[key]]
    heads = [key for key in shapes if own[key][1:] == found[key][1:]]
    if not missing and not unexpected and shapes and shapes == heads and len({own[key][0] for key in heads}) == 1:
        classes, own_classes = found[heads[0]][0], own[heads[0]][0]
        return (
            f'{path} has {classes} classes but the network has {own_classes}: build the network with '
            f'num_classes={classes}, and if you train on some of these classes, name them (classes=[…])'
        )
    parts = [
        f'{len(names)} {what}: {_listed(names)}'
        for what, names in (
            ('keys of the file left over', unexpected),
            ('weights of the network missing in the file', missing),
            ('of another shape', [f'{key} {tuple(found[key])} for {tuple(own[key])}' for key in shapes]),
        )
        if names
    ]
    fitting = identify(found)
    of_head = next(
        (shape[0] for name, shape in zip(_neutral(found), found.values(), strict=True) if name == 'fc.weight'), None
    )
    advice = (
        f'its keys and shapes are those of {" or ".join(fitting)} with {of_head} classes'
        if fitting
        else 'nor any other architecture of the zoo'
    )
    return f'{path} does not fit the network; {advice} ({"; ".join(parts)})'


def identify(shapes: Mapping[str, torch.Size]) -> list[str]:
    """The zoo's known architectures whose names and shapes are these; the number of classes does not matter."""
    wanted = _signature(shapes)
    return [name for name, signature in _zoo_signatures().items() if signature == wanted]


@cache
def _zoo_signatures() -> dict[str, dict]:
    signatures = {}
    with DefaultScope.overwrite_default_scope('crld_zoo'):  # mmpretrain's classifiers find the zoo's parts by it
        for name in ZOO:
            weights = MODELS.build(classifier_config(name, num_classes=2)).state_dict()
            signatures[f'crld_zoo::{name}'] = _signature({key: value.shape for key, value in weights.items()})
    return signatures


def _signature(shapes: Mapping[str, torch.Size]) -> dict[str, tuple[int, ...]]:
    return {
        name: tuple(shape[1:] if name.startswith('fc.') else shape)
        for name, shape in zip(_neutral(shapes), shapes.values(), strict=True)
        if not name.endswith('num_batches_tracked')
    }


def _listed(names: Iterable) -> str:
    names = [str(name) for name in names]
    more = f' and {len(names) - SHOWN_KEYS} more' if len(names) > SHOWN_KEYS else ''
    return ', '.join(names[:SHOWN_KEYS]) + more
