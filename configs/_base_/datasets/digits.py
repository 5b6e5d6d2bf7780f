"""scikit-learn's handwritten digits, 1,797 images of 8x8, ten classes. No flips: digits have a direction."""

data_preprocessor = dict(
    type='ViewPreprocessor',
    mean=[77.8, 77.8, 77.8],
    std=[95.8, 95.8, 95.8],
    views=dict(
        weak=[dict(type='RandomCrop', size=8, padding=1)],
        strong=[
            dict(type='RandomCrop', size=8, padding=1),
            dict(type='RandAugment'),
            dict(type='Cutout'),
        ],
    ),
)

train_dataloader = dict(
    batch_size=50,
    num_workers=0,
    dataset=dict(type='Digits', split='train', device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='as_batch'),
)
val_dataloader = dict(
    batch_size=500,
    num_workers=0,
    dataset=dict(type='Digits', split='test', device='auto'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='as_batch'),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='Accuracy', topk='auto'), dict(type='CalibrationError')]
test_evaluator = val_evaluator
