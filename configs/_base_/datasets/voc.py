"""Pascal VOC 2012, segmented: ``data/VOCdevkit`` as torchvision has it. Validation is on whole images."""

data_preprocessor = dict(
    type='ViewPreprocessor',
    mean=[123.675, 116.28, 103.53],
    std=[58.395, 57.12, 57.375],
)

train_dataloader = dict(
    batch_size=16,
    num_workers=8,
    persistent_workers=True,
    drop_last=True,
    dataset=dict(type='VOCSegmentation', data_root='data', split='train', crop=480),
    sampler=dict(type='DefaultSampler', shuffle=True),
    collate_fn=dict(type='default_collate'),
)
val_dataloader = dict(
    batch_size=1,  # the images have sizes of their own
    num_workers=8,
    persistent_workers=True,
    dataset=dict(type='VOCSegmentation', data_root='data', split='val'),
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type='MeanIoU')]
test_evaluator = val_evaluator
