"""From a batch of images to what the networks see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmengine.dist import get_rank
from mmengine.model import BaseDataPreprocessor
from mmpretrain.models.utils import RandomBatchAugment
from torch import Tensor

from crld_zoo.errors import InputError
from crld_zoo.registry import MODELS

from .compose import Views
from .keys import SampleKeys
from .labels import targets
from .normalization import check_normalization, normalize


class DrawnViews(NamedTuple):
    """A batch whose views are drawn but not made.

    Attributes:
        images: uint8 ``(N, 3, H, W)`` on the device, or a dict of them where the pipeline makes the views.
        numbers: The random numbers of each view, float64 ``(draws, N)``.
    """

    images: Tensor | Mapping[str, Tensor]
    numbers: Mapping[str, Tensor]


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
        seed: Seed of the views; None takes the seed of the data, which the batch carries.
        image_size: Side, or height and width, of the images where no operation of a view fixes it; only distillers that
            look inside of the networks ask.
        batch_augments: Mixes the images of a training batch and their labels, as mmpretrain's preprocessor does:
            the arguments of its ``RandomBatchAugment``. All views are mixed alike, with the same partners and shares,
            which are drawn from numpy and torch and are no function of the samples.
        num_classes: The number of classes of mixed labels.

    What the views draw is a function of the :class:`~crld_zoo.views.SampleKeys` that the zoo's training loops give each
    batch as ``keys``. A batch of somebody else's loop has none: then the views follow a counter of this module (the
    call counts as the pass over the data, the place in the batch and the process as the sample's number) and torch's
    seed. Such views are reproducible from the start only, and belong to no sample.

    Attributes:
        takes_keys: Whether a batch may hold ``keys``.
        needed_views: Names of the views that somebody looks at; others are not made. All, if None.
        deferred: Whether training is given :class:`DrawnViews`, from which :meth:`render` makes the views: a function
            of tensors alone, which a CUDA graph can hold.
    """

    takes_keys = True

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
        batch_augments: Mapping | None = None,
        num_classes: int | None = None,
    ) -> None:
        super().__init__()
        self.mean, self.std = tuple(mean), tuple(std)
        check_normalization(self.mean, self.std, 'ViewPreprocessor')
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise InputError(f'ViewPreprocessor: seed must be a whole number or None, not {seed!r}.')
        self.register_buffer('channel_mean', torch.tensor(self.mean, dtype=torch.float32), persistent=False)
        self.register_buffer('channel_std', torch.tensor(self.std, dtype=torch.float32), persistent=False)
        self.view_names = tuple(view_names)
        self.to_rgb = to_rgb
        self.channels_last = channels_last
        if isinstance(image_size, int):
            image_size = (image_size, image_size)
        self.image_size = None if image_size is None else (image_size[0], image_size[1])
        self.seed = seed
        self.views = None if views is None else Views(views, given=self.view_names)
        self.mixing: RandomBatchAugment | None = None
        if batch_augments:
            if not num_classes:
                raise InputError('ViewPreprocessor: mixed labels are probabilities of classes: set num_classes.')
            self.mixing = RandomBatchAugment(**batch_augments)
        self.num_classes = num_classes or 0
        self.needed_views: Sequence[str] | None = None
        self.deferred = False
        self._calls = 0

    def size_of(self, view: str) -> tuple[int, int] | None:
        """Height and width of a view, as far as its operations or ``image_size`` fix them."""
        size = self.views.size_of(view) if self.views is not None and view in self.views else None
        return self.image_size if size is None else size

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepare one batch.

        Args:
            data: ``dict(inputs=…, data_samples=…)`` as the data loader gives it, with ``keys`` where it knows them.
            training: Make views; otherwise the images are only normalized.

        Returns:
            In training ``inputs``, float tensors by view name on the device; ``data_samples``, the labels as
            :func:`~crld_zoo.views.targets` gives them, ``(N,)`` or ``(N, K)``, or None; and ``keys``, the
            :class:`~crld_zoo.views.SampleKeys` on the device, or None where the batch has none. Otherwise ``inputs``,
            one float tensor, and ``data_samples`` as they came, on the device.

        Raises:
            InputError: The batch has another form, its images have different sizes, a label is none, or there is none
                where labels are mixed.
        """
        if training:
            return self._train(data)
        images, samples = self.cast_data(data['inputs']), data.get('data_samples')
        if self._is_multi_view(images):
            raise InputError(
                'ViewPreprocessor: several views of an image where one is evaluated: leave MultiView out '
                'of the validation and test pipelines.'
            )
        if isinstance(samples, Tensor):
            samples = targets(samples)
        return dict(inputs=self._normalize(self._batch(images)), data_samples=self.cast_data(samples))

    def _train(self, data: dict) -> dict:
        images, keys, samples = self.cast_data(data['inputs']), data.get('keys'), data.get('data_samples')
        if self._is_multi_view(images):
            if len(images) > len(self.view_names):
                raise InputError(
                    f'ViewPreprocessor: the pipeline makes {len(images)} views, but view_names has only '
                    f'{len(self.view_names)} names: {", ".join(self.view_names)}.'
                )
            images = dict(zip(self.view_names, map(self._batch, images), strict=False))
            count = len(images[self.view_names[0]])
        else:
            images = self._batch(images)
            count = len(images)
        target = None if samples is None else targets(samples, unlabeled=True)
        if target is not None and len(target) != count:
            raise InputError(f'ViewPreprocessor: the batch has {count} images, but {len(target)} labels.')
        if target is not None and target.dim() == 3 and (self.views is not None or self.mixing is not None):
            raise InputError(
                'ViewPreprocessor: the labels are those of pixels, which views and batch_augments would not move with '
                'the images: crop and flip both in the data set, and leave views and batch_augments out.'
            )
        if keys is not None:  # without waiting for what the device has still to do
            host = (keys.samples.numpy(), keys.copies.numpy())
            samples, copies = (part.to(self.device, non_blocking=True) for part in (keys.samples, keys.copies))
            keys = SampleKeys(keys.seed if self.seed is None else self.seed, keys.epoch, samples, copies, host)
        drawn = DrawnViews(images, self._draw(self._count_keys(count) if keys is None else keys))
        target = self.cast_data(target)
        if self.deferred:
            return dict(inputs=drawn, data_samples=target, keys=keys)
        views = self.render(*drawn)
        if self.mixing is not None:
            views, target = self._mix(self.mixing, views, target)
        return dict(inputs=views, data_samples=target, keys=keys)

    def _mix(
        self, mixing: RandomBatchAugment, views: dict[str, Tensor], target: Tensor | None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """The views and their labels, mixed."""
        shapes = {view.shape for view in views.values()}
        if len(shapes) > 1:
            raise InputError(
                'ViewPreprocessor: batch_augments mixes all views alike, which needs one image of each sample in each, '
                f'all of one size, but they have shapes {", ".join(str(tuple(shape)) for shape in shapes)}.'
            )
        if target is None or (target.dim() == 1 and bool((target < 0).any())):
            raise InputError(
                'ViewPreprocessor: batch_augments mixes labels, but the batch has samples without one: leave them out, '
                'or leave batch_augments out.'
            )
        scores = F.one_hot(target, self.num_classes) if target.dim() == 1 else target
        mixed, scores = mixing(torch.cat(tuple(views.values()), 1), scores)  # as channels of one image
        return dict(zip(views, mixed.split(3, 1), strict=True)), scores

    def render(self, images: Tensor | Mapping[str, Tensor], numbers: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Views for given random numbers, normalized: the two parts of :class:`DrawnViews`."""
        made: Mapping[str, Tensor]
        if self.views is not None:
            made = self.views.render(images, numbers)
        else:
            made = images if isinstance(images, Mapping) else {self.view_names[0]: images}
        return {name: self._normalize(view) for name, view in made.items() if self._is_needed(name)}

    @staticmethod
    def _is_multi_view(images: Tensor | Sequence) -> bool:
        return not isinstance(images, Tensor) and isinstance(images[0], Sequence)

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

    def _count_keys(self, count: int) -> SampleKeys:
        """Keys for a batch that has none."""
        seed = torch.initial_seed() if self.seed is None else self.seed
        samples = torch.arange(count, device=self.device) + get_rank() * count
        self._calls += 1
        return SampleKeys(seed, self._calls - 1, samples, torch.zeros_like(samples))

    def _draw(self, keys: SampleKeys) -> dict[str, Tensor]:
        if self.views is None:
            return {}
        return self.views.draw(keys, self.views.with_sources([n for n in self.views.names if self._is_needed(n)]))

    def _is_needed(self, name: str) -> bool:
        return self.needed_views is None or name in self.needed_views

    def _normalize(self, images: Tensor) -> Tensor:
        return normalize(images, self.channel_mean, self.channel_std, channels_last=self.channels_last)
