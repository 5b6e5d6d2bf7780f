"""RandAugment with the pool of FixMatch (Cubuk et al., 2019, arXiv 1909.13719; Sohn et al., 2020, arXiv 2001.07685)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import PoolOperation, ViewOperation, pick

FIXMATCH_POOL = ('AutoContrast', 'Brightness', 'Color', 'Contrast', 'Equalize', 'Identity', 'Posterize', 'Rotate',
                 'Sharpness', 'ShearX', 'ShearY', 'Solarize', 'TranslateX', 'TranslateY')


@VIEWS.register_module()
class RandAugment(ViewOperation):
    """Several operations in turn, each drawn from a pool with replacement, with a magnitude uniform in its range.

    Operations of a kind share their passes over the pixels: all lookup tables are one pass, all affine maps another.

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
        self.num_ops = num_ops
        operations = [VIEWS.build(dict(type=entry) if isinstance(entry, str) else entry) for entry in pool]
        for operation in operations:
            if not isinstance(operation, PoolOperation):
                raise InputError(f'RandAugment: {type(operation).__name__} cannot be in the pool, since it has no '
                                 'magnitude; put it before or after RandAugment, or derive it from PoolOperation.')
        kinds = {}
        for operation in operations:
            kinds.setdefault(operation.render, []).append(operation)
        self.kinds = list(kinds.values())
        self.pool = nn.ModuleList(operation for kind in self.kinds for operation in kind)
        self._low = torch.tensor([operation.low for operation in self.pool], dtype=torch.float64)
        self._span = torch.tensor([operation.high for operation in self.pool], dtype=torch.float64) - self._low

    @property
    def draws(self) -> int:
        return 2 * self.num_ops

    def plan(self, uniform: Tensor) -> tuple[Tensor, Tensor]:
        """Which operation of ``pool`` each image gets in each round, and where in its range, both ``(num_ops, N)``."""
        choice, position = uniform.chunk(2)
        return pick(choice, len(self.pool)), position

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        # Only the CPU knows how many images drew an operation without waiting; other devices compute all and select
        one_round = self._by_group if images.device.type == 'cpu' else self._by_mask
        for choice, position in zip(*self.plan(uniform), strict=True):
            images = one_round(images, choice, position)
        return images

    def _by_group(self, images: Tensor, choice: Tensor, position: Tensor) -> Tensor:
        """Sort the images by the operation they drew, so that each operation sees its own only."""
        choice, order = choice.sort()
        sizes = iter(torch.bincount(choice, minlength=len(self.pool)).tolist())
        images, position = images.index_select(0, order), position.index_select(0, order)
        magnitude = self._low.index_select(0, choice) + self._span.index_select(0, choice) * position
        results, start = [], 0
        for kind in self.kinds:
            first, prepared = start, []
            for operation in kind:
                stop = start + next(sizes)
                if stop > start:
                    prepared.append(operation.prepare(images[start:stop], magnitude[start:stop]))
                start = stop
            if prepared:
                results.append(kind[0].render(images[first:start], torch.cat(prepared)))
        return torch.cat(results).index_select(0, order.argsort())

    def _by_mask(self, images: Tensor, choice: Tensor, position: Tensor) -> Tensor:
        """Prepare every operation for all images and keep, for each image, what its own one prepared."""
        index = 0
        for kind in self.kinds:
            prepared = kind[0].neutral(images)
            for operation in kind:
                own = operation.prepare(images, operation.low + (operation.high - operation.low) * position)
                chosen = (choice == index).view(-1, *(1,) * (own.dim() - 1))
                prepared = torch.where(chosen, own, prepared)
                index += 1
            images = kind[0].render(images, prepared)
        return images
