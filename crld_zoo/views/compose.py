"""Named views of a batch, composed from configs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

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
                    dict(type='RandAugment', num_ops=2), dict(type='Cutout')],
            rotated=dict(of='weak', operations=[dict(type='Rotations')]))

    A view is made of the image, or of another view's pixels (``of``). What it draws is a function of the sample's key
    and the view's name (:func:`~crld_zoo.views.uniform`): the same sample has the same view on every device, at any
    batch size, on any number of processes, whichever other views are made. Views may differ in size, and a view may
    hold several images of each sample, one sample after the other: ``rotated`` has row ``3 b + r`` of sample ``b``.

    Nothing here waits for a GPU. The part that computes, :meth:`render`, can be captured in a CUDA graph while
    :meth:`draw` stays outside.

    Args:
        views: A list of operations for each view name, as configs from the registry ``VIEWS``; an empty list is the
            image itself. A dict ``dict(of=…, operations=[…])`` starts from another view, wherever that stands.
        given: Names of views that come ready made, from a pipeline.

    Raises:
        InputError: No views, an operation with impossible options, a view of one that is not there, or of itself.
        UnknownNameError: An operation that is not registered.

    Example:
        >>> images = torch.arange(12, dtype=torch.uint8).view(1, 3, 2, 2)
        >>> views = Views(dict(weak=[dict(type='RandomFlip', prob=1)],
        ...                    dark=dict(of='weak', operations=[dict(type='Brightness', low=0.5, high=0.5)])))
        >>> keys = SampleKeys(seed=0, epoch=0, samples=torch.tensor([7]), copies=torch.tensor([0]))
        >>> {name: view[0, 0].tolist() for name, view in views(images, keys).items()}
        {'weak': [[1, 0], [3, 2]], 'dark': [[0, 0], [1, 1]]}
    """

    def __init__(self, views: Mapping[str, Sequence[dict] | dict], given: Sequence[str] = ()) -> None:
        super().__init__()
        if not isinstance(views, Mapping) or not views:
            raise InputError(f'Views: a dict with a list of operations for each view name is needed, not {views!r}.')
        parts = {name: _source_and_operations(name, view) for name, view in views.items()}
        self.sources = {name: source for name, (source, _) in parts.items()}
        for name, source in self.sources.items():
            if source is not None and source not in (*views, *given):
                raise InputError(
                    f"Views: view '{name}' is made of '{source}', which is not there: the views are "
                    f'{", ".join(dict.fromkeys((*given, *views)))}.'
                )
        # Not the order of the config: MMEngine sorts the keys of a config that it writes.
        made_of: dict[str, list[str]] = {
            name: [source] if source is not None and source in views else [] for name, source in self.sources.items()
        }
        try:
            self.names = tuple(TopologicalSorter(made_of).static_order())
        except CycleError as error:
            raise InputError(
                f'Views: {" of ".join(map(repr, error.args[1]))}: none is made of itself, let one start from the image.'
            ) from None
        self._operations = {name: parts[name][1] for name in self.names}
        pipelines = [_build(name, operations) for name, operations in self._operations.items()]
        self.pipelines = nn.ModuleList(map(nn.ModuleList, pipelines))
        self._steps = {name: tuple(pipeline) for name, pipeline in zip(self.names, pipelines, strict=True)}
        self._draws = {name: _draws(self._steps[name], self._images_before(name)) for name in self.names}

    def size_of(self, view: str) -> tuple[int, int] | None:
        """Height and width that a view comes out in, as far as its operations fix it."""
        steps = reversed(self._steps[view])
        size = next((step.output_size for step in steps if step.output_size is not None), None)
        source = self.sources[view]
        return self.size_of(source) if size is None and source is not None and source in self.names else size

    def definition(self, view: str) -> str:
        """All operations that make a view, from the image on, as text: equal for equal views."""
        source = self.sources[view]
        before = '' if source is None else f'{self.definition(source) if source in self else source} > '
        return before + str(
            [{name: operation[name] for name in sorted(operation)} for operation in self._operations[view]]
        )

    def images_of(self, view: str) -> int:
        """How many images of each sample a view holds."""
        return self._images_before(view) * math.prod(step.images for step in self._steps[view])

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def with_sources(self, names: Sequence[str]) -> list[str]:
        """Those of the views that must be made for ``names``, sources first."""
        wanted = set(names)
        for name in reversed(self.names):
            source = self.sources[name]
            if name in wanted and source is not None:  # what it is made of stands before it
                wanted.add(source)
        return [name for name in self.names if name in wanted]

    def draw(self, keys: SampleKeys, names: Sequence[str] | None = None) -> dict[str, Tensor]:
        """The random numbers of the views, float64 ``(draws, N)`` each, on the device of the keys."""
        return uniform(keys, {name: sum(self._draws[name]) for name in (self.names if names is None else names)})

    def make(self, name: str, images: Tensor, uniform: Tensor) -> Tensor:
        """One view for given random numbers.

        Args:
            name: Which view.
            images: uint8 ``(N * n, 3, H, W)``: the images, or the view that this one is made of, with ``n`` images of
                each sample.
            uniform: What :meth:`draw` gave for it.

        Returns:
            uint8 ``(N * m, 3, h, w)``, with ``m`` images of each sample.
        """
        _check_images(images)
        before, steps = self._images_before(name), self._steps[name]
        piece = max(1, piece_size(images, _PIECE) // before)
        results = []
        with torch.inference_mode():  # saves a fifth: small images spend their time on calling many small operations
            for part, numbers in zip(images.contiguous().split(piece * before), uniform.split(piece, 1), strict=True):
                for step, own in zip(steps, numbers.split(self._draws[name]), strict=True):
                    if step.draws < len(own):  # several images of each sample, which have their own numbers
                        own = own.unflatten(0, (-1, step.draws)).permute(1, 2, 0).flatten(1)
                    part = step.transform(part, own)
                results.append(part)
        return torch.cat(results)  # outside of that mode, so it is an ordinary tensor

    def forward(
        self, images: Tensor | Mapping[str, Tensor], keys: SampleKeys, names: Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """The views of a batch.

        Args:
            images: uint8 ``(N, 3, H, W)``; or ready-made views by name, on which the operations of the same name are
                applied.
            keys: Of the samples, on the images' device.
            names: Which of the views; None: all. Views whose images are not there are left out.

        Returns:
            uint8 ``(rows, 3, h, w)`` for each view name; what a view is made of is among them.

        Raises:
            InputError: A batch of another form, images too small for a crop.
        """
        names = self.with_sources(self.names if names is None else names)
        return self.render(images, self.draw(keys, names))

    def render(self, images: Tensor | Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The views of a batch for given random numbers.

        Args:
            images: As in :meth:`forward`.
            numbers: What :meth:`draw` gave for the views and for those that they are made of.
        """
        if isinstance(images, Mapping):
            given, made = images, dict(images)
        else:
            given, made = {name: images for name in numbers if self.sources[name] is None}, {}
        for name, own in numbers.items():
            source = self.sources[name]
            if source is not None and source in made:
                made[name] = self.make(name, made[source], own)
            elif source is None and name in given:
                made[name] = self.make(name, given[name], own)
        return made

    def _images_before(self, name: str) -> int:
        source = self.sources[name]
        return self.images_of(source) if source is not None and source in self.sources else 1


def _source_and_operations(name: str, view: Sequence[dict] | dict) -> tuple[str | None, Sequence[dict]]:
    if not isinstance(view, Mapping):
        return None, view
    if view.keys() != {'of', 'operations'}:
        raise InputError(
            f"Views: view '{name}' must be a list of operations, or dict(of='another view', operations=[…]), "
            f'not {view!r}.'
        )
    return view['of'], view['operations']


def _draws(steps: Sequence[ViewOperation], images: int) -> list[int]:
    """How many numbers each operation of a view draws for a sample, of which it begins with so many images."""
    draws = []
    for step in steps:
        draws.append(step.draws * images)
        images *= step.images
    return draws


def _build(view: str, operations: Sequence[dict]) -> list[ViewOperation]:
    if isinstance(operations, str) or not isinstance(operations, Sequence):
        raise InputError(f"Views: view '{view}' must be a list of operations, not {operations!r}.")
    return [_build_operation(view, config) for config in operations]


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
