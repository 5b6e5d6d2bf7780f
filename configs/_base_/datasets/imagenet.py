"""ImageNet-1k at 224x224: RandomResizedCrop and flip in the loader's workers.

``data/imagenet`` holds ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG``. A recipe that needs the strong view as well
takes ``two_view_pipeline``, which cuts two crops of one decoded image, and ``two_views``, whose operations the device
does. Images are resized with Pillow, as torchvision does, whose weights the teachers have.
"""

data_preprocessor = dict(
    type='ViewPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    to_rgb=True,
)
two_views = dict(strong=[dict(type='RandAugment'), dict(type='Cutout')])

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackInputs'),
]
two_view_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(
        type='MultiView',
        num_views=2,
        transforms=[
            [
                dict(type='RandomResizedCrop', scale=224, backend='pillow'),
                dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            ]
        ],
    ),
    dict(type='PackInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='ResizeEdge', scale=256, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackInputs'),
]

train_dataloader = dict(
    batch_size=64,  # of each process; the schedules scale the learning rate to the batch of all
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='train', pipeline=train_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
val_dataloader = dict(
    batch_size=128,
    num_workers=8,
    persistent_workers=True,
    pin_memory=True,
    dataset=dict(type='ImageNet', data_root='data/imagenet', split='val', pipeline=test_pipeline),
    sampler=dict(type='DefaultSampler', shuffle=False),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk='auto'), dict(type='CalibrationError')]
test_evaluator = val_evaluator
