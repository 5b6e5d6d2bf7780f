"""A small network that starts from a larger one of its family: the larger one pruned in depth and width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from crld_zoo.errors import InputError


def select_weights(larger: Mapping[str, Tensor], smaller: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a small network out of those of a larger one.

    Uniform weight selection (Xu et al., ICLR 2024, "Initializing Models with Larger Ones",
    `2311.18823 <https://arxiv.org/abs/2311.18823>`_), with blocks that are evenly spaced as well: of ``n`` blocks in
    a row ``m`` are kept, the ``i``-th is ``floor(i n / m)`` (every second of twice as many), and of ``n`` channels
    likewise. The paper takes the first ``m`` blocks.

    Args:
        larger: A state dict.
        smaller: That of the small network, for its keys and shapes.

    Returns:
        A value for each key of ``smaller``.

    Raises:
        InputError: The larger network lacks a layer of the small one, or is narrower there.

    Example:
        >>> larger = {f'blocks.{i}.weight': torch.full((4,), i) + torch.arange(4) / 10 for i in range(6)}
        >>> smaller = {f'blocks.{i}.weight': torch.zeros(2) for i in range(3)}
        >>> {key: value.tolist() for key, value in select_weights(larger, smaller).items()}['blocks.1.weight']
        [2.0, 2.200000047683716]
    """
    rows, rows_of_larger = _rows(smaller), _rows(larger)
    return {key: _thinned(key, value, larger, _source(key, rows, rows_of_larger)) for key, value in smaller.items()}


def _rows(keys: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """The numbered modules under each path, in order."""
    rows: dict[str, dict[str, None]] = {}
    for key in keys:
        parts = key.split('.')
        for at, part in enumerate(parts):
            if part.isdigit():
                rows.setdefault('.'.join(parts[:at]), {})[part] = None
    return {path: sorted(numbers, key=int) for path, numbers in rows.items()}


def _source(key: str, rows: Mapping[str, Sequence[str]], larger: Mapping[str, Sequence[str]]) -> str:
    """The key in the larger network that one of the small network takes its values from."""
    here: list[str] = []
    there: list[str] = []
    for part in key.split('.'):
        if part.isdigit():
            own, others = rows['.'.join(here)], larger.get('.'.join(there), ())
            if len(own) > len(others):
                raise InputError(
                    f'init_from: {".".join(here)} has {len(own)} parts, {len(others)} in the network to start from: '
                    'only a larger network of the same family can be pruned to this one'
                )
            there.append(others[own.index(part) * len(others) // len(own)])
        else:
            there.append(part)
        here.append(part)
    return '.'.join(there)


def _thinned(key: str, value: Tensor, larger: Mapping[str, Tensor], source: str) -> Tensor:
    found = larger.get(source)
    if found is None or found.dim() != value.dim() or any(a < b for a, b in zip(found.shape, value.shape, strict=True)):
        shape = 'not there' if found is None else f'of shape {tuple(found.shape)}'
        raise InputError(
            f'init_from: {key} of shape {tuple(value.shape)} would be taken from {source}, which is {shape}: only a '
            'larger network of the same family can be pruned to this one'
        )
    for dim, (wide, narrow) in enumerate(zip(found.shape, value.shape, strict=True)):
        if wide > narrow:
            found = found.index_select(dim, torch.arange(narrow, device=found.device) * wide // narrow)
    return found.detach().clone()
