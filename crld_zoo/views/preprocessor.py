"""From a batch of images to what the networks see."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .compose import Views
from .keys import SampleKeys
from .normalization import normalize


@MODELS.register_module()
class ViewPreprocessor(BaseDataPreprocessor):
    """Moves a batch to the device, makes named views of it for training, and normalizes.

    ``inputs`` of a batch may be one uint8 tensor ``(N, 3, H, W)`` (the in-memory data sets), a list of ``N`` images
    ``(3, H, W)`` (an ordinary pipeline that ends in ``PackInputs``), or a list with such a list for each view (a
    pipeline with ``MultiView``, one transform a view). In training the result is a dict of views by name, else one
    tensor.

    Args:
        mean: Mean of each channel, on the scale 0 to 255.
        std: Standard deviation of each channel, on the scale 0 to 255.
        views: Operations of each view by name, as :class:`crld_zoo.views.Views` takes them. With images that the
            pipeline has cropped for each view already, those operations are applied on top. None leaves the images
            as they come.
        view_names: Names of the views that a ``MultiView`` pipeline makes, in its order. The first is also the name
            of a pipeline's only view.
        to_rgb: Swap the first and the last channel. mmcv loads images as BGR; the in-memory data sets hold RGB.
        channels_last: Give the images, and thereby the networks of :class:`Distillation`, the memory format that
            convolutions prefer. It changes no result but for rounding; ``docs/performance.md`` has its effect.
        seed: Seed of the views; None takes the data's, which comes with each batch.
        image_size: Side, or height and width, of the images where no operation of a view fixes it; only distillers that
            look inside of the networks ask.

    Attributes:
        needed_views: Names of the views that somebody looks at; others are not made. All, if None. Who names them also
            gets the ``keys`` of each batch.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        views: dict[str, list] | None = None,
        view_names: Sequence[str] = ('weak', 'strong'),
        to_rgb: bool = False,
        channels_last: bool = True,
        seed: int | None = None,
        image_size: int | Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        check_normalization(self.mean, self.std, 'ViewPreprocessor')
        self.register_buffer('channel_mean', torch.tensor(self.mean, dtype=torch.float32), persistent=False)
        self.register_buffer('channel_std', torch.tensor(self.std, dtype=torch.float32), persistent=False)
        self.view_names = tuple(view_names)
        self.to_rgb = to_rgb
        self.channels_last = channels_last
        if isinstance(image_size, int):
            image_size = (image_size, image_size)
        self.image_size = None if image_size is None else tuple(image_size)
        self.views = None if views is None else Views(views, seed=seed)
        self.needed_views: Sequence[str] | None = None

    def size_of(self, view: str) -> tuple[int, int] | None:
        """Height and width of a view, as far as its operations or ``image_size`` fix them."""
        return (self.views is not None and view in self.views and self.views.size_of(view)) or self.image_size

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare one batch.

        Args:
            data: ``dict(inputs=…, data_samples=…)`` as the data loader gives it.
            training: Make views; otherwise the images are only normalized.

        Returns:
            ``inputs`` as float tensors on the device, ``data_samples`` as they came, on the device.

        Raises:
            InputError: The batch has another form, or its images have different sizes.
        """
        data = self.cast_data(data)
        images, keys = data['inputs'], _keys(data.get('sample_keys'))
        if isinstance(images, Tensor) or not isinstance(images[0], Sequence):
            images = self._batch(images)
            views = self._make_views(images, keys) if training else images
        elif training:
            if len(images) > len(self.view_names):
                raise InputError(
                    f'ViewPreprocessor: the pipeline makes {len(images)} views, but view_names has only '
                    f'{len(self.view_names)} names: {", ".join(self.view_names)}.'
                )
            views = self._finish_views(dict(zip(self.view_names, map(self._batch, images), strict=False)), keys)
        else:
            raise InputError(
                'ViewPreprocessor: several views of an image where one is evaluated: leave MultiView out '
                'of the validation and test pipelines.'
            )
        normalized = (
            {name: self._normalize(view) for name, view in views.items()}
            if isinstance(views, dict)
            else self._normalize(views)
        )
        if not training:
            return dict(inputs=normalized, data_samples=data.get('data_samples'))
        result = dict(inputs=normalized, data_samples=targets(data['data_samples']))
        return result if self.needed_views is None else dict(result, keys=keys)

    def _batch(self, images: Tensor | Sequence[Tensor]) -> Tensor:
        """One RGB tensor ``(N, 3, H, W)``: Cutout's color and the gray of other operations need the order."""
        if isinstance(images, Tensor):
            batch = images
        elif len({image.shape for image in images}) == 1:
            batch = torch.stack(tuple(images))
        else:
            sizes = ', '.join(sorted({'x'.join(map(str, image.shape[1:])) for image in images})[:4])
            raise InputError(
                f'ViewPreprocessor: the images of a batch have different sizes ({sizes}): end the '
                'pipeline with a crop or a resize to one size.'
            )
        if batch.dim() != 4 or batch.shape[1] != 3:
            raise InputError(
                'ViewPreprocessor: a batch of RGB images (N, 3, H, W) is needed, but it has shape '
                f'{tuple(batch.shape)}.'
            )
        return batch.flip(1) if self.to_rgb else batch

    def _make_views(self, images: Tensor, keys: SampleKeys | None) -> dict[str, Tensor]:
        if self.views is None:
            return {self.view_names[0]: images}
        return self.views.make([name for name in self.views.names if self._is_needed(name)], images, keys)

    def _finish_views(self, views: dict[str, Tensor], keys: SampleKeys | None) -> dict[str, Tensor]:
        views = {name: view for name, view in views.items() if self._is_needed(name)}
        if self.views is None:
            return views
        return {
            name: self.views.make([name], view, keys)[name] if name in self.views else view
            for name, view in views.items()
        }

    def _is_needed(self, name: str) -> bool:
        return self.needed_views is None or name in self.needed_views

    def _normalize(self, images: Tensor) -> Tensor:
        return normalize(images, self.channel_mean, self.channel_std, channels_last=self.channels_last)


def _keys(rows: Tensor | Sequence[Tensor] | None) -> SampleKeys | None:
    if rows is None:
        return None
    return SampleKeys(*(rows if isinstance(rows, Tensor) else torch.stack(tuple(rows))).unbind(1))


def targets(data_samples: Sequence | Tensor) -> Tensor:
    """The labels of a batch in their one form, also from mmpretrain's data samples.

    Returns:
        Class indices, int64 ``(N,)``, -1 where there is no label; or class probabilities ``(N, K)``, for mixed labels.

    Raises:
        InputError: A sample has several labels or none, or the labels have another form.
    """
    if isinstance(data_samples, Tensor):
        target = data_samples
    elif 'gt_score' in data_samples[0]:
        target = torch.stack([sample.gt_score for sample in data_samples])
    else:
        counts = {sample.gt_label.numel() for sample in data_samples}
        if counts != {1}:
            raise InputError(
                f'a sample has {max(counts - {1})} labels, and a classifier learns one class an image: give one index '
                'each (-1 for none), or rows of class probabilities that sum to 1.'
            )
        target = torch.cat([sample.gt_label.view(1) for sample in data_samples])
    kind = f'{str(target.dtype).removeprefix("torch.")} of shape {tuple(target.shape)}'
    if target.dim() == 1 and not target.is_floating_point() and target.dtype != torch.bool:
        wrong = target.device.type == 'cpu' and bool((target < -1).any())  # a GPU would have to be waited for
        if not wrong:
            return target.long()
        kind = f'{int(target.min())}, and only -1 has a meaning below 0'
    elif target.dim() == 2 and target.is_floating_point():
        if target.device.type != 'cpu' or bool((target.sum(1) - 1).abs().max() < 1e-3 and target.min() >= 0):
            return target
        kind = 'rows of numbers that do not sum to 1'
    raise InputError(
        f'labels must be one class index an image, (N,) whole numbers, or class probabilities (N, K) that sum to 1 in '
        f'each row; these are {kind}.'
    )


def check_normalization(mean: Sequence[float], std: Sequence[float], whose: str) -> None:
    """Check that mean and std are three numbers each, of pixels in 0-255.

    Raises:
        InputError: They are not, or stand on the scale 0-1.
    """
    if len(mean) != 3 or len(std) != 3:
        raise InputError(f'mean={mean} and std={std} of {whose}: three numbers each, R, G, B')
    if not all(math.isfinite(value) for value in (*mean, *std)) or min(std) <= 0:
        raise InputError(f'mean={mean} and std={std} of {whose}: finite numbers, the std above zero')
    if max(std) < 1:
        raise InputError(
            f'std={std} of {whose} is on the scale 0-1: mean and std are of pixels in 0-255, so multiply both by 255'
        )
