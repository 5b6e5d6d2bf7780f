"""Tiny-ImageNet-200 in memory, 64x64, with the weak and the strong view of the CRLD paper (arXiv 2412.16493).

``data/tiny-imagenet-200`` is the published folder: http://cs231n.stanford.edu/tiny-imagenet-200.zip
"""

data_preprocessor = dict(
    type='ViewPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
    views=dict(
        weak=[dict(type='RandomCrop', size=64, padding=8), dict(type='RandomFlip')],
        strong=[
            dict(type='RandomCrop', size=64, padding=8),
            dict(type='RandomFlip'),
            dict(type='RandAugment'),
            dict(type='Cutout'),
        ],
    ),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='InMemoryTinyImageNet', data_root='data/tiny-imagenet-200', split='train', device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='as_batch'),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='InMemoryTinyImageNet', data_root='data/tiny-imagenet-200', split='val', device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='as_batch'),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk='auto'), dict(type='CalibrationError')]
test_evaluator = val_evaluator
