"""Images and labels, handed out as ``dict(inputs=…, data_samples=…)``.

**Images that fit in memory** are decoded once, and a batch is one indexing operation: uint8 images ``(N, 3, H, W)``
and int64 labels ``(N,)``. The views are made of the whole batch, on its device, by the data preprocessor:

.. code-block:: python

    train_dataloader = dict(
        batch_size=64, num_workers=0,
        dataset=dict(type='InMemoryCIFAR100', data_root='data', split='train'),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='as_batch'))

**Images that do not** (ImageNet) go the ordinary way of mmpretrain, whose data sets, transforms and samplers all
resolve by their plain names: decode once, cut one crop per view in the worker, and leave the strong operations to the
device. The batch then holds a list over the views of lists of images, and a list of mmpretrain's ``DataSample``:

.. code-block:: python

    train_dataloader = dict(
        batch_size=64, num_workers=8, persistent_workers=True,
        dataset=dict(
            type='ImageNet', data_root='data/imagenet', split='train',
            pipeline=[
                dict(type='LoadImageFromFile'),
                dict(type='MultiView', num_views=2, transforms=[
                    [dict(type='RandomResizedCrop', scale=224),
                     dict(type='RandomFlip', prob=0.5, direction='horizontal')]]),
                dict(type='PackInputs')]),
        sampler=dict(type='DefaultSampler', shuffle=True),
        collate_fn=dict(type='pseudo_collate'))

Label-scarcity experiments take a class-balanced subset of any in-memory set, ``labels_per_class=10`` or
``fraction=0.1`` with ``subset_seed=0``; ``others='unlabeled'`` keeps the other images with the label -1, which is that
of an image without label everywhere. :class:`ImageFolder` takes a folder of unlabeled pictures besides, and
:class:`LabeledShareBatchSampler` gives every batch the same share of labeled ones.
"""

from .cifar import InMemoryCIFAR10, InMemoryCIFAR100
from .digits import Digits
from .fingerprint import fingerprint
from .from_files import CustomDataset, ImageNet, ImageNet21k
from .image_files import ImageFiles
from .image_folder import ImageFolder, class_folders
from .in_memory import InMemoryDataset, as_batch
from .labels import labels_of
from .numbering import numbers_of
from .samplers import LabeledShareBatchSampler
from .subset import UNLABELED, balanced_subset
from .synthetic import SyntheticImages
from .tiny_imagenet import InMemoryTinyImageNet
from .voc import VOCSegmentation

__all__ = [
    'UNLABELED',
    'LabeledShareBatchSampler',
    'labels_of',
    'numbers_of',
    'CustomDataset',
    'Digits',
    'ImageFiles',
    'ImageFolder',
    'ImageNet',
    'ImageNet21k',
    'InMemoryCIFAR10',
    'InMemoryCIFAR100',
    'InMemoryDataset',
    'InMemoryTinyImageNet',
    'SyntheticImages',
    'VOCSegmentation',
    'as_batch',
    'balanced_subset',
    'class_folders',
    'fingerprint',
]
