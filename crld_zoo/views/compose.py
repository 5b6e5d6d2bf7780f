"""Named views of a batch, composed from configs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import ViewOperation, piece_size
from .keys import SampleKeys, uniform

_PIECE = 2_000_000  # values that the CPU works on at a time: more fall out of its cache, fewer waste calls


class Views(nn.Module):
    """Makes every view of a batch, on the device the batch is on.

    .. code-block:: python

        views = dict(
            weak=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomFlip')],
            strong=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomFlip'),
                    dict(type='RandAugment', num_ops=2), dict(type='Cutout')])

    Every random number belongs to a sample, a view and a place in it (:mod:`crld_zoo.views.keys`), so a view of a
    sample does not depend on the rest of its batch, on the device, or on which other views are made.

    A view may be made from another view's pixels, and may hold several images of each sample, next to each other:

    .. code-block:: python

        rotated=dict(of='weak', operations=[dict(type='Rotations')])   # (3 N, 3, h, w): 90, 180 and 270 degrees

    Args:
        views: For each view's name a list of operations, as configs from the registry ``VIEWS``, or a dict of the view
            that it is made ``of`` and its ``operations``. An empty list is the image itself.
        seed: Takes the place of the keys' seed, if given.

    Raises:
        InputError: No views, an operation with impossible options, a view of one that there is not.
        UnknownNameError: An operation that is not registered.

    Example:
        >>> images = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
        >>> views = Views(dict(weak=[dict(type='RandomFlip', prob=1)], dark=[dict(type='Brightness', low=0, high=0)]))
        >>> {name: view[0, 0].tolist() for name, view in views(images).items()}
        {'weak': [[1, 0], [3, 2]], 'dark': [[0, 0], [0, 0]]}
    """

    def __init__(self, views: Mapping[str, Sequence[dict]], seed: int | None = None) -> None:
        super().__init__()
        if not isinstance(views, Mapping) or not views:
            raise InputError(f'Views: a dict with a list of operations for each view name is needed, not {views!r}.')
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise InputError(f'Views: seed must be a whole number or None, not {seed!r}.')
        self.names = tuple(views)
        self.parents = {name: spec['of'] for name, spec in views.items() if isinstance(spec, Mapping) and 'of' in spec}
        for name, parent in self.parents.items():
            if parent not in views or parent in self.parents:
                plain = [other for other in views if other not in self.parents]
                raise InputError(
                    f"Views: view '{name}' is made of '{parent}', which is no view of the image ({', '.join(plain)})."
                )
        self.pipelines = nn.ModuleList(_build(name, operations) for name, operations in views.items())
        self.seed = seed
        self._calls = 0

    def size_of(self, view: str) -> tuple[int, int] | None:
        """Height and width that a view comes out in, as far as its operations fix it."""
        size = _final_size(self.pipelines[self.names.index(view)])
        return self.size_of(self.parents[view]) if size is None and view in self.parents else size

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def view(self, name: str, images: Tensor, keys: SampleKeys) -> Tensor:
        """One view of a batch from the image, or from the view that it is made of.

        Args:
            name: The view's name.
            images: uint8 ``(N, 3, H, W)``.
            keys: Of the batch's samples.

        Returns:
            uint8 ``(N, 3, h, w)``, or a multiple of ``N`` rows.
        """
        _check_images(images)
        pipeline = self.pipelines[self.names.index(name)]
        draws = [operation.draws for operation in pipeline]
        if self.seed is not None:
            keys = keys._replace(seed=torch.full_like(keys.seed, self.seed))
        results = []
        with torch.inference_mode():  # saves a fifth: small images spend their time on calling many small operations
            numbers = uniform(keys, name, sum(draws)).split(draws)
            size = piece_size(images, _PIECE)
            for start in range(0, len(images), size):
                piece = images[start : start + size].contiguous()
                for operation, own in zip(pipeline, numbers, strict=True):
                    piece = operation.transform(piece, own[:, start : start + size])
                results.append(piece)
        return torch.cat(results)  # outside of that mode, so it is an ordinary tensor

    def make(self, names: Sequence[str], images: Tensor, keys: SampleKeys | None = None) -> dict[str, Tensor]:
        """Some of the views of a batch.

        Args:
            names: Which.
            images: uint8 ``(N, 3, H, W)``.
            keys: Of the batch's samples; without, they are the places in the batch, and each call is a pass of its own.

        Returns:
            By name, as :meth:`view` gives them.

        Raises:
            InputError: A batch of another form, images too small for a crop.
        """
        if keys is None:
            keys = SampleKeys.of_batch(len(images), self._calls, torch.initial_seed(), images.device)
            self._calls += 1
        made = {
            name: self.view(name, images, keys)
            for name in dict.fromkeys(self.parents.get(name, name) for name in names)
        }
        return {
            name: self.view(name, made[self.parents[name]], keys) if name in self.parents else made[name]
            for name in names
        }

    def forward(self, images: Tensor, keys: SampleKeys | None = None) -> dict[str, Tensor]:
        """Every view of a batch, see :meth:`make`."""
        return self.make(self.names, images, keys)


def _build(view: str, operations: Sequence[dict] | Mapping) -> nn.ModuleList:
    if isinstance(operations, Mapping):
        unknown = operations.keys() - {'of', 'operations'}
        if unknown or 'operations' not in operations:
            raise InputError(f"Views: view '{view}' is a list of operations, or dict(of='…', operations=[…]).")
        operations = operations['operations']
    if isinstance(operations, str) or not isinstance(operations, Sequence):
        raise InputError(f"Views: view '{view}' must be a list of operations, not {operations!r}.")
    return nn.ModuleList(_build_operation(view, config) for config in operations)


def _build_operation(view: str, config: dict) -> ViewOperation:
    if not isinstance(config, Mapping):
        raise InputError(f"Views: an operation of view '{view}' must be a dict with a type, not {config!r}.")
    try:
        operation = VIEWS.build(config)
    except InputError as error:
        raise type(error)(f"Views: view '{view}': {error}") from None
    if not isinstance(operation, ViewOperation):
        raise InputError(f"Views: view '{view}': {config['type']} is not a ViewOperation.")
    return operation


def _final_size(pipeline: nn.ModuleList) -> tuple[int, int] | None:
    """Height and width that a view comes out in, as far as its operations fix it."""
    return next((step.output_size for step in reversed(pipeline) if step.output_size is not None), None)


def _check_images(images: Tensor) -> None:
    if not isinstance(images, Tensor) or images.dtype != torch.uint8:
        kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise InputError(
            f'Views: images must be a uint8 tensor with values from 0 to 255, not {kind}; views are made '
            'before the normalization.'
        )
    if images.dim() != 4 or images.shape[1] != 3 or 0 in images.shape:
        raise InputError(
            'Views: images must be a batch of RGB images, (N, 3, H, W) with at least one pixel, not '
            f'{tuple(images.shape)}.'
        )
