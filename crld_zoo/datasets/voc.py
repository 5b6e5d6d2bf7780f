"""Pascal VOC, segmented."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch.utils.data import Dataset

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS

VOID = 255
"""The class of pixels between objects, which have none."""

CLASSES = (
    'background',
    *('aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat', 'chair', 'cow', 'diningtable', 'dog'),
    *('horse', 'motorbike', 'person', 'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor'),
)


@DATASETS.register_module()
class VOCSegmentation(Dataset):
    """Pascal VOC with the class of each pixel, in torchvision's layout: ``VOCdevkit/VOC2012`` in a folder.

    ``inputs`` is an image, uint8 ``(3, H, W)``, RGB; ``data_samples`` its classes, int64 ``(H, W)``, 255 where there is
    none. To train, image and classes are scaled (0.5 to 2 times ``crop``, the shorter side), flipped and cut to a
    square together, with torch's random numbers, which the loops seed for each sample; without ``crop`` they come as
    they are, for a batch of one.

    Args:
        data_root: The folder that holds ``VOCdevkit``.
        split: ``'train'``, ``'val'`` or ``'trainval'``.
        crop: Side of the squares in pixels; None for whole images.
        year: Of the challenge.

    Raises:
        MissingFileError: It is not there.
        InputError: There is no such split.
    """

    def __init__(
        self, data_root: str | os.PathLike, split: str = 'train', crop: int | None = None, year: str = '2012'
    ) -> None:
        from torchvision import tv_tensors
        from torchvision.datasets import VOCSegmentation as Files
        from torchvision.transforms import v2

        folder = Path(data_root) / 'VOCdevkit' / f'VOC{year}'
        if not folder.is_dir():
            raise MissingFileError(
                f'VOCSegmentation: there is no folder {folder}: unpack VOCtrainval_11-May-2012.tar into {data_root}.'
            )
        if not (folder / 'ImageSets' / 'Segmentation' / f'{split}.txt').is_file():
            raise InputError(f"VOCSegmentation: {folder} has no split '{split}': take 'train', 'val' or 'trainval'.")
        self.files = Files(str(data_root), year=year, image_set=split)
        self.metainfo = dict(classes=CLASSES)
        self._types = tv_tensors.Image, tv_tensors.Mask
        self.transform = crop and v2.Compose(
            [
                v2.RandomResize(crop // 2, 2 * crop),
                v2.RandomHorizontalFlip(),
                v2.RandomCrop(crop, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: VOID}),
            ]
        )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        from torchvision.transforms.v2 import functional

        image, mask = self.files[index]
        as_image, as_mask = self._types
        pair = as_image(functional.pil_to_tensor(image.convert('RGB'))), as_mask(functional.pil_to_tensor(mask)[0])
        image, mask = self.transform(*pair) if self.transform else pair
        return dict(inputs=image.as_subclass(torch.Tensor), data_samples=mask.as_subclass(torch.Tensor).long())
