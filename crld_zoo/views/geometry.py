"""Operations that move pixels by an affine map, with nearest sampling and black where the map leaves the image.

Maps that move rows as a whole copy them as a whole; other maps take one pixel after the other.

Pillow maps in 16.16 fixed point and so does this module, so the same pixels are taken. What may differ is the last bit
of a sine or cosine between mathematical libraries; a pixel changes if a coordinate happens to lie that close (one part
in 10^15) to a step of 1/65,536 pixel.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from crld_zoo.errors import InputError
from crld_zoo.registry import VIEWS

from .base import PoolOperation, ViewOperation, check_range, cut_rows

_ONE = 1 << 16


def affine(images: Tensor, matrix: Tensor) -> Tensor:
    """``PIL.Image.transform`` with ``AFFINE`` and ``NEAREST``, a matrix for each image.

    The output pixel ``(x, y)`` takes the input pixel ``(a x' + b y' + c, d x' + e y' + f)``, with ``x' = x + 1/2`` and
    ``y' = y + 1/2``, rounded down.

    Args:
        images: uint8 ``(N, 3, H, W)``; the sides, and what the matrix makes of them, below 32,768.
        matrix: ``(a, b, c, d, e, f)`` of each image, float64 ``(N, 6)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> affine(images, torch.tensor([[1, 0, 2, 0, 1, 0]]).double())[0, 0]  # two to the left
        tensor([[30, 40,  0,  0]], dtype=torch.uint8)
    """
    count, _, height, width = images.shape
    column = torch.arange(width, dtype=torch.int32, device=images.device)
    row = torch.arange(height, dtype=torch.int32, device=images.device).view(height, 1)
    along, down, start = _fixed_point(matrix).view(count, 2, 3, 1, 1).unbind(2)
    x, y = (along * column + (down * row).add_(start)).bitwise_right_shift_(16).unbind(1)
    # The images get a border of one black pixel, onto which everything outside is clamped
    source = y.clamp_(0, height + 1).mul_(width + 2).add_(x.clamp_(0, width + 1)).view(count, 1, height * width).long()
    framed = functional.pad(images, (1, 1, 1, 1)).flatten(2)
    return framed.gather(2, source.expand(-1, 3, -1)).view_as(images)


def move_rows(images: Tensor, matrix: Tensor) -> Tensor:
    """:func:`affine` for matrices ``(1, b, c, 0, 1, f)``, which move every row as a whole; several times as fast.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> move_rows(images, torch.tensor([[1, 0, 2, 0, 1, 0]]).double())[0, 0]
        tensor([[30, 40,  0,  0]], dtype=torch.uint8)
    """
    height, width = images.shape[2:]
    row = torch.arange(height, dtype=torch.int32, device=images.device)
    _, down, start = _fixed_point(matrix).unsqueeze(3).unbind(2)
    x, y = (down * row).add_(start).bitwise_right_shift_(16).unbind(1)
    # Black above and below, and to the left of each row, which is to the right of the row above as well: hence one more
    framed = functional.pad(images, (width, 0, 1, 2))
    begin = y.clamp_(0, height + 1).mul_(2 * width).add_(x.add_(width - 1).clamp_(0, 2 * width))
    return cut_rows(framed, begin, width)


def _fixed_point(matrix: Tensor) -> Tensor:
    """The matrices as int32 ``(N, 2, 3)`` for whole coordinates, with the result's moved by one pixel each way."""
    fixed = matrix.view(-1, 2, 3) * _ONE
    along, down, start = fixed.unbind(2)
    start.add_(along, alpha=0.5).add_(down, alpha=0.5).add_(_ONE)  # from the pixels' centers
    return fixed.add_(0.5).floor_().int()


def rotation_matrix(degrees: Tensor, height: int, width: int) -> Tensor:
    """Turn counterclockwise about the center, ``(N, 6)``.

    Example:
        >>> import torch
        >>> rotation_matrix(torch.tensor([90.0]), 4, 4).round().int().tolist()
        [[0, -1, 4, 1, 0, 0]]
    """
    angle = degrees.remainder(360.0) * (-math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    x, y = width / 2, height / 2
    return torch.stack((cos, sin, x - x * cos - y * sin, -sin, cos, y + x * sin - y * cos), 1)


def shear_x_matrix(shear: Tensor) -> Tensor:
    """Move row ``y`` by ``shear * y`` pixels to the left, ``(N, 6)``.

    Example:
        >>> import torch
        >>> shear_x_matrix(torch.tensor([0.5]))
        tensor([[1.0000, 0.5000, 0.0000, 0.0000, 1.0000, 0.0000]])
    """
    one, zero = torch.ones_like(shear), torch.zeros_like(shear)
    return torch.stack((one, shear, zero, zero, one, zero), 1)


def shear_y_matrix(shear: Tensor) -> Tensor:
    """Move column ``x`` by ``shear * x`` pixels up, ``(N, 6)``.

    Example:
        >>> import torch
        >>> shear_y_matrix(torch.tensor([0.5]))
        tensor([[1.0000, 0.0000, 0.0000, 0.5000, 1.0000, 0.0000]])
    """
    one, zero = torch.ones_like(shear), torch.zeros_like(shear)
    return torch.stack((one, zero, zero, shear, one, zero), 1)


def translation_x_matrix(share: Tensor, width: int) -> Tensor:
    """Move to the left by a share of the width, ``(N, 6)``.

    Pillow translates in float64, not in fixed point; whole pixels come to the same in both.

    Example:
        >>> import torch
        >>> translation_x_matrix(torch.tensor([0.25]), 32)
        tensor([[1., 0., 8., 0., 1., 0.]])
    """
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    return torch.stack((one, zero, (share * width + 0.5).floor_(), zero, one, zero), 1)


def translation_y_matrix(share: Tensor, height: int) -> Tensor:
    """Move up by a share of the height, ``(N, 6)``; see :func:`translation_x_matrix`.

    Example:
        >>> import torch
        >>> translation_y_matrix(torch.tensor([0.25]), 32)
        tensor([[1., 0., 0., 0., 1., 8.]])
    """
    one, zero = torch.ones_like(share), torch.zeros_like(share)
    return torch.stack((one, zero, zero, zero, one, (share * height + 0.5).floor_()), 1)


def rotate(images: Tensor, degrees: Tensor) -> Tensor:
    """``PIL.Image.rotate`` with an angle for each image, float64 ``(N,)``, in degrees counterclockwise.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 4, -1)
        >>> rotate(images, torch.tensor([90.0]))[0, 0]
        tensor([[40, 40, 40, 40],
                [30, 30, 30, 30],
                [20, 20, 20, 20],
                [10, 10, 10, 10]], dtype=torch.uint8)
    """
    return affine(images, rotation_matrix(degrees.double(), *images.shape[2:]))


def shear_x(images: Tensor, shear: Tensor) -> Tensor:
    """Shear along the rows by ``shear`` pixels a row, ``(N,)``: the affine map ``(1, shear, 0, 0, 1, 0)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 3, -1)
        >>> shear_x(images, torch.tensor([1.0]))[0, 0]
        tensor([[20, 30, 40,  0],
                [30, 40,  0,  0],
                [40,  0,  0,  0]], dtype=torch.uint8)
    """
    return move_rows(images, shear_x_matrix(shear.double()))


def shear_y(images: Tensor, shear: Tensor) -> Tensor:
    """Shear along the columns by ``shear`` pixels a column, ``(N,)``: the affine map ``(1, 0, 0, shear, 1, 0)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 4, -1)
        >>> shear_y(images, torch.tensor([1.0]))[0, 0]
        tensor([[10, 20, 30,  0],
                [10, 20,  0,  0],
                [10,  0,  0,  0],
                [ 0,  0,  0,  0]], dtype=torch.uint8)
    """
    return affine(images, shear_y_matrix(shear.double()))


def translate_x(images: Tensor, share: Tensor) -> Tensor:
    """Move to the left by a share of the width, ``(N,)``: the affine map ``(1, 0, share * width, 0, 1, 0)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 1, -1)
        >>> translate_x(images, torch.tensor([0.25]))[0, 0]
        tensor([[20, 30, 40,  0]], dtype=torch.uint8)
    """
    return move_rows(images, translation_x_matrix(share.double(), images.shape[3]))


def translate_y(images: Tensor, share: Tensor) -> Tensor:
    """Move up by a share of the height, ``(N,)``: the affine map ``(1, 0, 0, 0, 1, share * height)``.

    Example:
        >>> import torch
        >>> images = torch.tensor([10, 20, 30, 40], dtype=torch.uint8).expand(1, 3, 2, -1)
        >>> translate_y(images, torch.tensor([0.5]))[0, 0]
        tensor([[10, 20, 30, 40],
                [ 0,  0,  0,  0]], dtype=torch.uint8)
    """
    return move_rows(images, translation_y_matrix(share.double(), images.shape[2]))


class AffineOperation(PoolOperation):
    """A pool operation that is one affine map for each image; a subclass writes :meth:`matrix`."""

    def matrix(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        """The map from output to input coordinates, float64 ``(N, 6)``; see :func:`affine`."""
        raise NotImplementedError

    def prepare(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return self.matrix(magnitude, *images.shape[2:])

    @staticmethod
    def neutral(images: Tensor) -> Tensor:
        return torch.eye(2, 3, dtype=torch.float64, device=images.device).view(6)

    @staticmethod
    def render(images: Tensor, prepared: Tensor, magnitude: Tensor) -> Tensor:
        return affine(images, prepared)


class RowOperation(AffineOperation):
    """An affine operation that moves rows as a whole: its matrices are ``(1, b, c, 0, 1, f)``.

    By itself it copies rows; among other affine operations it is rendered with them, which saves small images a pass.
    """

    def at(self, images: Tensor, magnitude: Tensor) -> Tensor:
        return move_rows(images, self.prepare(images, magnitude))


@VIEWS.register_module()
class Rotate(AffineOperation):
    """Turn counterclockwise about the center by the magnitude in degrees."""

    def __init__(self, low: float = -30, high: float = 30) -> None:
        super().__init__(*check_range(self, 'degrees', (low, high), -360, 360))

    def matrix(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        return rotation_matrix(magnitude, height, width)


@VIEWS.register_module()
class ShearX(RowOperation):
    """Shear along the rows by the magnitude in pixels a row."""

    def __init__(self, low: float = -0.3, high: float = 0.3) -> None:
        super().__init__(*check_range(self, 'shear', (low, high), -1, 1))

    def matrix(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        return shear_x_matrix(magnitude)


@VIEWS.register_module()
class ShearY(AffineOperation):
    """Shear along the columns by the magnitude in pixels a column."""

    def __init__(self, low: float = -0.3, high: float = 0.3) -> None:
        super().__init__(*check_range(self, 'shear', (low, high), -1, 1))

    def matrix(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        return shear_y_matrix(magnitude)


@VIEWS.register_module()
class TranslateX(RowOperation):
    """Move to the left by the magnitude as a share of the width."""

    def __init__(self, low: float = -0.3, high: float = 0.3) -> None:
        super().__init__(*check_range(self, 'share', (low, high), -1, 1))

    def matrix(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        return translation_x_matrix(magnitude, width)


@VIEWS.register_module()
class TranslateY(RowOperation):
    """Move up by the magnitude as a share of the height."""

    def __init__(self, low: float = -0.3, high: float = 0.3) -> None:
        super().__init__(*check_range(self, 'share', (low, high), -1, 1))

    def matrix(self, magnitude: Tensor, height: int, width: int) -> Tensor:
        return translation_y_matrix(magnitude, height)


@VIEWS.register_module()
class Rotations(ViewOperation):
    """Three images of each: turned counterclockwise by 90, 180 and 270 degrees, in this order.

    The rows of sample ``b`` are ``3 b``, ``3 b + 1`` and ``3 b + 2``. Self-supervision tells the turns apart
    (`Gidaris et al., 2018 <https://arxiv.org/abs/1803.07728>`_), and SSKD learns from them.

    Raises:
        InputError: When it runs, images that are not square.
    """

    images = 3

    def transform(self, images: Tensor, uniform: Tensor) -> Tensor:
        height, width = images.shape[2:]
        if height != width:
            raise InputError(f'Rotations: images must be square, not {height}x{width}: crop or resize them before.')
        return torch.stack([images.rot90(turns, (2, 3)) for turns in (1, 2, 3)], 1).flatten(0, 1)
