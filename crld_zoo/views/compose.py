"""Named views of a batch, composed from configs."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import get_rank
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import ViewOperation, piece_size

_PIECE = 2_000_000  # values that the CPU works on at a time: more fall out of its cache, fewer waste calls


class Views(nn.Module):
    """Makes every view of a batch, on the device the batch is on.

    .. code-block:: python

        views = dict(
            weak=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomFlip')],
            strong=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomFlip'),
                    dict(type='RandAugment', num_ops=2), dict(type='Cutout')])

    All random numbers come from one generator, the views' in turn, so each view has its own crop. After
    :meth:`reseed` the stream depends on the seed, the process's rank and the iteration, and on nothing before: a
    resumed training sees the views it would have seen. CPU and GPU have different streams.

    Nothing here waits for a GPU, so a call can be captured in a CUDA graph: register ``views.generator(device)`` with
    the graph (``register_generator_state``) and call :meth:`reseed` before each replay.

    Args:
        views: A list of operations for each view name, as configs from the registry ``VIEWS``; an empty list is the
            image itself. All views must come out in one size.
        seed: Seed of the streams; None takes torch's at each :meth:`reseed`, which the Runner sets.

    Raises:
        InputError: No views, an operation with impossible options, views of different sizes.
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
        self.pipelines = nn.ModuleList(_build(name, operations) for name, operations in views.items())
        _check_sizes({name: _final_size(pipeline) for name, pipeline in zip(self.names, self.pipelines, strict=True)})
        self.seed = seed
        self._stream: int | None = None
        self._generator: torch.Generator | None = None

    def size_of(self, view: str) -> tuple[int, int] | None:
        """Height and width that a view comes out in, as far as its operations fix it."""
        return _final_size(self.pipelines[self.names.index(view)])

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def reseed(self, iteration: int) -> None:
        """Begin the random stream of an iteration, counted from 0."""
        # torch's seed is asked for now, not when built: a resumed run gets its seed back only after that
        seed = torch.initial_seed() if self.seed is None else self.seed
        self._stream = stream_seed(seed, get_rank(), iteration)
        if self._generator is not None:
            self._generator.manual_seed(self._stream)

    def generator(self, device: torch.device) -> torch.Generator:
        """The generator of the random numbers for batches on a device."""
        if self._stream is None:
            self.reseed(0)
        if self._generator is None or self._generator.device != device:
            self._generator = torch.Generator(device)
            self._generator.manual_seed(self._stream)
        return self._generator

    def view(self, name: str, images: Tensor) -> Tensor:
        """One view of a batch: uint8 ``(N, 3, H, W)`` to ``(N, 3, h, w)``, with the stream's next numbers."""
        _check_images(images)
        generator, pipeline = self.generator(images.device), self.pipelines[self.names.index(name)]
        results = []
        with torch.inference_mode():  # saves a fifth: small images spend their time on calling many small operations
            for piece in images.contiguous().split(piece_size(images, _PIECE)):
                for operation in pipeline:
                    piece = operation(piece, generator)
                results.append(piece)
        return torch.cat(results)  # outside of that mode, so it is an ordinary tensor

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Every view of a batch.

        Args:
            images: uint8 ``(N, 3, H, W)``.

        Returns:
            uint8 ``(N, 3, h, w)`` for each view name.

        Raises:
            InputError: A batch of another form, images too small for a crop, views of different sizes.
        """
        views = {name: self.view(name, images) for name in self.names}
        _check_sizes({name: tuple(view.shape[2:]) for name, view in views.items()})
        return views


def stream_seed(seed: int, rank: int, iteration: int) -> int:
    """A 64-bit seed that depends on all bits of three numbers.

    A cryptographic hash of the three in fixed widths: neighboring iterations and ranks get unrelated streams, no two
    triples share their input, and it costs a microsecond where ``numpy.random.SeedSequence`` takes ten or more.
    (torch's CPU generator uses the lower 32 bits only.)
    """
    digest = hashlib.blake2b(struct.pack('<QqQ', seed % 2**64, rank, iteration), digest_size=8).digest()
    return int.from_bytes(digest, 'little')


def _build(view: str, operations: Sequence[dict]) -> nn.ModuleList:
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


def _check_sizes(sizes: Mapping[str, tuple[int, int] | None]) -> None:
    known = {size: name for name, size in sizes.items() if size is not None}
    if len(known) > 1:
        listed = ', '.join(f"'{name}' {height}x{width}" for (height, width), name in known.items())
        raise InputError(
            f'Views: all views must come out in one size, but {listed}: give their last crop or resize the same size.'
        )


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
