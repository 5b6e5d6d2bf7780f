"""From a batch of images to what the networks see."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.progress import current_progress
from crld_zoo.registry import MODELS

from .compose import Views
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
        seed: Seed of the views' random stream; None takes the run's.
        image_size: Side, or height and width, of the images where no operation of a view fixes it; only distillers that
            look inside of the networks ask.

    Attributes:
        needed_views: Names of the views that somebody looks at; others are not made. All, if None.
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
        if len(self.mean) != 3 or len(self.std) != 3 or min(self.std) <= 0:
            raise InputError(
                f'ViewPreprocessor: mean and std need three numbers each, std above 0, on the scale 0 to '
                f'255; got mean={self.mean}, std={self.std}.'
            )
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
        self._calls = 0

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
        images = data['inputs']
        if isinstance(images, Tensor) or not isinstance(images[0], Sequence):
            images = self._batch(images)
            views = self._make_views(images) if training else images
        elif training:
            if len(images) > len(self.view_names):
                raise InputError(
                    f'ViewPreprocessor: the pipeline makes {len(images)} views, but view_names has only '
                    f'{len(self.view_names)} names: {", ".join(self.view_names)}.'
                )
            views = self._finish_views(dict(zip(self.view_names, map(self._batch, images), strict=False)))
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
        return dict(inputs=normalized, data_samples=data.get('data_samples'))

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

    def _reseed(self) -> None:
        progress = current_progress()
        self.views.reseed(self._calls if progress is None else progress.iteration)
        self._calls += 1

    def _make_views(self, images: Tensor) -> dict[str, Tensor]:
        if self.views is None:
            return {self.view_names[0]: images}
        self._reseed()
        return {name: self.views.view(name, images) for name in self.views.names if self._is_needed(name)}

    def _finish_views(self, views: dict[str, Tensor]) -> dict[str, Tensor]:
        views = {name: view for name, view in views.items() if self._is_needed(name)}
        if self.views is None:
            return views
        self._reseed()
        return {name: self.views.view(name, view) if name in self.views else view for name, view in views.items()}

    def _is_needed(self, name: str) -> bool:
        return self.needed_views is None or name in self.needed_views

    def _normalize(self, images: Tensor) -> Tensor:
        return normalize(images, self.channel_mean, self.channel_std, channels_last=self.channels_last)


def targets(data_samples: list | Tensor) -> Tensor:
    """Labels of a batch, also from mmpretrain's data samples: class indices ``(N,)``, or mixed labels ``(N, K)``."""
    if isinstance(data_samples, Tensor):
        return data_samples
    if 'gt_score' in data_samples[0]:
        return torch.stack([sample.gt_score for sample in data_samples])
    return torch.cat([sample.gt_label for sample in data_samples])
