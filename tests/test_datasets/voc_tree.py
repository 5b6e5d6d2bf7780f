"""Pascal VOC's layout with a few made-up images: each half a class and half background, with a void line between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from crld_zoo.datasets.voc import CLASSES, VOID

COUNT = 3
"""Images of each split."""


def make_voc(root: Path) -> Path:
    """The tree, if it is not there; image ``n`` shows class ``n + 1`` in the gray of ten times its number."""
    folder = root / 'VOCdevkit' / 'VOC2012'
    if folder.is_dir():
        return root
    for name in ('JPEGImages', 'SegmentationClass', 'ImageSets/Segmentation'):
        (folder / name).mkdir(parents=True)
    names = [f'2007_{number:06d}' for number in range(2 * COUNT)]
    for number, name in enumerate(names):
        mask = np.zeros((40, 60), np.uint8)
        mask[:, 30:] = 1 + number % (len(CLASSES) - 1)
        image = np.repeat(10 * mask[:, :, None], 3, 2)
        mask[:, 29:31] = VOID
        Image.fromarray(image).save(folder / 'JPEGImages' / f'{name}.jpg', quality=100, subsampling=0)
        palette = Image.fromarray(mask, 'L').convert('P')
        palette.putdata(mask.flatten().tolist())
        palette.save(folder / 'SegmentationClass' / f'{name}.png')
    for split, own in (('train', names[:COUNT]), ('val', names[COUNT:]), ('trainval', names)):
        (folder / 'ImageSets' / 'Segmentation' / f'{split}.txt').write_text('\n'.join(own) + '\n')
    return root
