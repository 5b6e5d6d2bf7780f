"""CIFAR-100 in memory, with the weak and the strong view of the CRLD paper (arXiv 2412.16493).

``data/cifar100`` holds ``cifar-100-python`` or its archive, which is downloaded where neither is there.
"""

data_preprocessor = dict(
    type='ViewPreprocessor',
    mean=[129.3105, 124.1085, 112.404],
    std=[68.2125, 65.4075, 70.4055],
    views=dict(
        weak=[dict(type='RandomCrop', size=32, padding=4), dict(type='RandomFlip')],
        strong=[
            dict(type='RandomCrop', size=32, padding=4),
            dict(type='RandomFlip'),
            dict(type='RandAugment'),
            dict(type='Cutout'),
        ],
    ),
)

train_dataloader = dict(
    batch_size=64,
    num_workers=0,
    dataset=dict(type='InMemoryCIFAR100', data_root='data/cifar100', split='train', device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='as_batch'),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='InMemoryCIFAR100', data_root='data/cifar100', split='test', device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='as_batch'),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk='auto'), dict(type='CalibrationError')]
test_evaluator = val_evaluator
