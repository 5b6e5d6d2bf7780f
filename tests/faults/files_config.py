"""The short run with images from files, read by two workers through an ordinary pipeline of mmpretrain."""

_base_ = ['fault_config.py']

custom_imports = dict(imports=['fault_hooks'])
train_dataloader = dict(
    _delete_=True,
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    dataset=dict(
        type='CustomDataset',
        data_prefix='set by --cfg-options',
        extensions=['.png'],
        pipeline=[dict(type='LoadImageFromFile'), dict(type='PackInputs')],
    ),
    sampler=dict(type='DefaultSampler', shuffle=True),
)
