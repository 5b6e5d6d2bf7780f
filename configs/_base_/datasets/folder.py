"""Your own images in memory, a folder for each class: ``data/my_images/{train,val}/<class>/*.jpg``.

``IMAGES=some/folder python tools/train.py …`` names another place. The classes are the folders of ``train``; ``val``
must have the same.
"""

_base_ = []  # a config that imports something is of MMEngine's other kind, unless it has this line

import os  # noqa: E402

from crld_zoo.datasets import class_folders  # noqa: E402

data_root = os.environ.get('IMAGES', 'data/my_images')
classes = [*class_folders(f'{data_root}/train')]
num_classes = len(classes)

data_preprocessor = dict(
    type='ViewPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    views=dict(
        weak=[dict(type='RandomResizedCrop', size=224), dict(type='RandomFlip')],
        strong=[
            dict(type='RandomResizedCrop', size=224),
            dict(type='RandomFlip'),
            dict(type='RandAugment'),
            dict(type='Cutout'),
        ],
    ),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='ImageFolder', data_root=f'{data_root}/train', classes=classes, size=256, device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='as_batch'),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='ImageFolder', data_root=f'{data_root}/val', classes=classes, size=224, device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='as_batch'),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk='auto'), dict(type='CalibrationError')]
test_evaluator = val_evaluator
