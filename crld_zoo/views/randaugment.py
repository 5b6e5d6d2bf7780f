"""RandAugment with the pool of FixMatch (Cubuk et al., 2019, arXiv 1909.13719; Sohn et al., 2020, arXiv 2001.07685)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import PoolOperation, ViewOperation, pick

FIXMATCH_POOL = (
    'AutoContrast',
    'Equalize',
    'Posterize',
    'Solarize',
    'Brightness',
    'Color',
    'Contrast',
    'Sharpness',
    'Identity',
    'Rotate',
    'ShearX',
    'ShearY',
    'TranslateX',
    'TranslateY',
)
"""Its operations; a random number picks one by its place here, so another order is another random stream."""

_LARGE = 100_000  # values of an image above which the CPU works on one image at a time


@VIEWS.register_module()
class RandAugment(ViewOperation):
    """Several operations in turn, each drawn from a pool with replacement, with a magnitude uniform in its range.

    Operations of a kind share their passes over the pixels: all lookup tables are one pass, all affine maps another,
    all blends a third. Only large images on the CPU are finished one by one. The pictures are the same.

    Args:
        num_ops: How many operations each image gets.
        pool: What to draw from: names or configs of operations with a magnitude, the same one twice to draw it twice
            as often. The fourteen of FixMatch with their ranges by default.

    Raises:
        InputError: No operations to draw or to apply, or one that has no magnitude.
        UnknownNameError: An operation that is not registered.
    """

    def __init__(self, num_ops: int = 2, pool: Sequence[str | dict] = FIXMATCH_POOL) -> None:
        super().__init__()
        if not isinstance(num_ops, int) or isinstance(num_ops, bool) or num_ops < 1:
            raise InputError(f'RandAugment: num_ops must be a whole number, at least 1, not {num_ops!r}.')
        if isinstance(pool, str) or not pool:
            raise InputError(f'RandAugment: pool must be a list of operations, not {pool!r}.')
        self.num_ops, self.draws = num_ops, 2 * num_ops
        operations = [VIEWS.build(dict(type=entry) if isinstance(entry, str) else entry) for entry in pool]
        for operation in operations:
            if not isinstance(operation, PoolOperation):
                raise InputError(
                    f'RandAugment: {type(operation).__name__} cannot be in the pool, since it has no '
                    'magnitude; put it before or after RandAugment, or derive it from PoolOperation.'
                )
        self.pool = nn.ModuleList(operations)
        kinds: dict[Callable, list[tuple[int, PoolOperation]]] = {}
        for index, operation in enumerate(operations):
            kinds.setdefault(operation.render, []).append((index, operation))
        self.kinds = list(kinds.values())
        self._place = torch.tensor([index for kind in self.kinds for index, _ in kind]).argsort()
        self._low = torch.tensor([operation.low for operation in operations], dtype=torch.float64)
        self._span = torch.tensor([operation.high for operation in operations], dtype=torch.float64) - self._low

    def plan(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Which operation of ``pool`` each image gets in each round, and where in its range, both ``(num_ops, N)``."""
        choice, position = uniform.chunk(2)
        return pick(choice, len(self.pool)), position

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        # Only the CPU knows what an image drew without waiting; other devices compute all operations and select
        if images.device.type == 'cpu' and images[0].numel() > _LARGE:
            return self._one_by_one(images, *self.plan(uniform))
        one_round = self._by_group if images.device.type == 'cpu' else self._by_mask
        for choice, position in zip(*self.plan(uniform), strict=True):
            images = one_round(images, choice, position)
        return images

    def _one_by_one(self, images: Tensor, choices: Tensor, positions: Tensor) -> Tensor:
        """Finish an image before the next: a large one and what is computed of it fill the CPU's cache alone."""
        results = []
        for image, choice, position in zip(images.split(1), choices.T.tolist(), positions.T, strict=True):
            for index, own in zip(choice, position.view(-1, 1, 1), strict=True):
                image = self.pool[index].transform(image, own)
            results.append(image)
        return torch.cat(results)

    def _by_group(self, images: Tensor, choice: Tensor, position: Tensor) -> Tensor:
        """Sort the images by the operation they drew, so that each operation sees its own only."""
        place, order = self._place.index_select(0, choice).sort()
        sizes = torch.bincount(place, minlength=len(self.pool)).tolist()
        magnitude = self._low.index_select(0, choice) + self._span.index_select(0, choice) * position
        images, magnitude = images.index_select(0, order), magnitude.index_select(0, order)
        parts = zip(sizes, images.split(sizes), magnitude.split(sizes), strict=True)
        results, stop = [], 0
        for kind in self.kinds:
            drawn = [
                (size, operation.prepare(*own))
                for (_, operation), (size, *own) in zip(kind, parts, strict=False)
                if size
            ]
            if drawn:
                start, stop = stop, stop + sum(size for size, _ in drawn)
                prepared = torch.cat([row for _, row in drawn])
                results.append(kind[0][1].render(images[start:stop], prepared, magnitude[start:stop]))
        return torch.cat(results).index_select(0, order.argsort())

    def _by_mask(self, images: Tensor, choice: Tensor, position: Tensor) -> Tensor:
        """Prepare every operation for all images and keep, for each image, what its own one prepared."""
        for kind in self.kinds:
            (_, first), prepared, magnitude = kind[0], kind[0][1].neutral(images), position
            for index, operation in kind:
                own, value = choice == index, operation.low + (operation.high - operation.low) * position
                row = operation.prepare(images, value)
                prepared = torch.where(own.view(-1, *(1,) * (row.dim() - 1)), row, prepared)
                magnitude = torch.where(own, value, magnitude)
            images = first.render(images, prepared, magnitude)
        return images
