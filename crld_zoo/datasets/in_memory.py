"""A data set that is one uint8 tensor: a batch is one indexing operation, with no Python object per image."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from mmengine.registry import FUNCTIONS
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from crld_zoo.errors import InputError
from crld_zoo.registry import DATASETS

from .subset import UNLABELED, check_labels, reduce_labels


@DATASETS.register_module()
class InMemoryDataset(Dataset):
    """Images and labels held in memory, handed out a batch at a time.

    PyTorch's loader fetches a batch through :meth:`__getitems__`, so the collate function has nothing left to do:

    .. code-block:: python

        train_dataloader = dict(
            batch_size=64, num_workers=0,
            dataset=dict(type='Digits', split='train'),
            sampler=dict(type='DefaultSampler', shuffle=True),
            collate_fn=dict(type='as_batch'))

    Samplers, epochs and the sharding over processes are MMEngine's. Loader workers gain nothing here, ``num_workers=0``
    is the fast choice. MMEngine's ``RepeatDataset`` and ``ConcatDataset`` (given as configs) ask for one image at a
    time: they work with ``collate_fn=dict(type='default_collate')``, which gives the same batches, slower.

    Args:
        images: uint8 ``(M, 3, H, W)``, RGB.
        labels: Integers ``(M,)`` from 0 to ``len(classes) - 1``, or -1 where an image has no label.
        classes: The class names.
        labels_per_class: Keep this many images of each class; None keeps all.
        fraction: Keep this share of each class's images, above 0 and up to 1; None keeps all.
        others: What becomes of the images that a subset leaves out: ``'drop'`` takes them away, ``'unlabeled'`` keeps
            them with the label -1 (``labels_per_class=0`` keeps no label at all then).
        subset_seed: Which subset; see :func:`~crld_zoo.datasets.subset.balanced_subset`.
        device: Where the tensors live. ``'cuda'`` saves the transfer of each batch, for which the CPU would wait until
            the GPU has done all before it; it needs ``num_workers=0`` and no ``pin_memory``, and every process holds
            its own copy. ``'auto'`` is the GPU where there is one and the images take at most a quarter of its free
            memory, else the CPU.

    Attributes:
        images: uint8 ``(M, 3, H, W)`` on ``device``.
        labels: int64 ``(M,)`` on ``device``.
        numbers: The index of each image in the whole split, int64 ``(M,)``.
        split_size: Images in the whole split.

    Raises:
        InputError: Images or labels of another form, a label outside the classes, a subset larger than a class, no
            GPU or no room on it.
    """

    def __init__(
        self,
        images: Tensor | np.ndarray,
        labels: Tensor | np.ndarray | Sequence[int],
        classes: Sequence[str],
        *,
        labels_per_class: int | None = None,
        fraction: float | None = None,
        others: str = 'drop',
        subset_seed: int = 0,
        device: str = 'cpu',
    ) -> None:
        images, labels = _checked(images, labels, classes)
        kept, left = reduce_labels(
            labels.numpy(),
            (image.tobytes() for image in images.numpy()),
            classes,
            labels_per_class=labels_per_class,
            fraction=fraction,
            seed=subset_seed,
            others=others,
        )
        labels = torch.from_numpy(left)
        self.numbers, self.split_size = torch.from_numpy(kept), len(images)
        if len(kept) < len(images):
            images = images[torch.from_numpy(kept)]
        self.device = torch.device(_roomy_device(images) if device == 'auto' else device)
        if self.device.type == 'cuda':
            _check_room_on_gpu(images, self.device)
        self.images, self.labels = images.contiguous().to(self.device), labels.to(self.device)
        self._metainfo = dict(classes=tuple(classes))

    @property
    def metainfo(self) -> dict:
        """``dict(classes=(…))``, which MMEngine hands to visualizers, metrics and checkpoints."""
        return dict(self._metainfo)

    def full_init(self) -> None:
        """Nothing is left to do; MMEngine's dataset wrappers call it."""

    def get_subset(self, indices: Sequence[int]) -> InMemoryDataset:
        """The same dataset with these images alone, as mmpretrain's ``KFoldDataset`` asks for it."""
        subset, index = copy.copy(self), torch.as_tensor(indices, dtype=torch.long, device=self.device)
        subset.images, subset.labels = self.images[index], self.labels[index]
        subset.numbers = self.numbers[index.cpu()]
        return subset

    def get_cat_ids(self, index: int) -> list[int]:
        """The class of one image, in a list as mmengine's ``ClassBalancedDataset`` asks for it; empty if unlabeled."""
        label = int(self.labels[index])
        return [] if label == UNLABELED else [label]

    def get_gt_labels(self) -> np.ndarray:
        """All labels ``(M,)``, as mmpretrain's datasets give them."""
        return self.labels.cpu().numpy()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """One image: ``inputs`` uint8 ``(3, H, W)``, ``data_samples`` its label, an int64 scalar."""
        return dict(inputs=self.images[index], data_samples=self.labels[index])

    def __getitems__(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """A batch: ``inputs`` uint8 ``(N, 3, H, W)``, ``data_samples`` int64 ``(N,)``."""
        if self.device.type == 'cuda' and get_worker_info() is not None:
            raise InputError(
                f'{type(self).__name__}: loader workers cannot read a dataset on the GPU: set '
                "num_workers=0 in its dataloader, or device='cpu' in the dataset."
            )
        # a blocking copy would wait for everything that the GPU has still to do
        index = torch.as_tensor(indices, dtype=torch.long).to(self.device, non_blocking=True)
        return dict(inputs=self.images.index_select(0, index), data_samples=self.labels.index_select(0, index))


@FUNCTIONS.register_module()  # in MMEngine's own registry: its Runner looks no scope up for functions
def as_batch(batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """The collate function of in-memory datasets, whose batches arrive ready.

    Raises:
        InputError: For a list of single images, as datasets that read image by image give it.

    Example:
        >>> as_batch(dict(inputs='a ready batch'))
        {'inputs': 'a ready batch'}
    """
    if not isinstance(batch, dict):
        raise InputError(
            'as_batch: the collate function takes the ready batch of an in-memory dataset, but this '
            "dataset gives image by image: use dict(type='default_collate') for a wrapped in-memory "
            "dataset, dict(type='pseudo_collate') for an mmpretrain pipeline."
        )
    return batch


def _checked(images, labels, classes: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Both as tensors on the CPU, after every check that keeps a wrong array from being trained on."""
    images, labels = torch.as_tensor(images), torch.as_tensor(labels)
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise InputError(f'images must be uint8 of shape (M, 3, H, W), but these are {_form(images)}.')
    if labels.ndim != 1 or labels.dtype.is_floating_point or labels.dtype == torch.bool:
        raise InputError(f'labels must be integers of shape (M,), but these are {_form(labels)}.')
    if len(images) != len(labels):
        raise InputError(f'the dataset holds {len(images)} images, but {len(labels)} labels.')
    if not len(images):
        raise InputError('the dataset holds no image.')
    labels = labels.long()
    check_labels(labels.numpy(), classes)
    return images, labels


def _form(array: Tensor) -> str:
    return f'{str(array.dtype).removeprefix("torch.")} of shape {tuple(array.shape)}'


def _roomy_device(images: Tensor) -> str:
    return 'cuda' if torch.cuda.is_available() and images.nbytes <= torch.cuda.mem_get_info()[0] / 4 else 'cpu'


def _check_room_on_gpu(images: Tensor, device: torch.device) -> None:
    if not torch.cuda.is_available():
        raise InputError(f"device='{device}': torch sees no GPU to hold the dataset: use device='cpu'.")
    free, _ = torch.cuda.mem_get_info(device)
    if images.nbytes > free:
        raise InputError(
            f"device='{device}': the dataset needs {images.nbytes / 2**30:.1f} GiB, but "
            f"{free / 2**30:.1f} GiB are free on that GPU: use device='cpu'."
        )
