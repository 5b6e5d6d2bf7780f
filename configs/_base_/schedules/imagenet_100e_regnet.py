"""100 epochs of SGD for a batch of 1024: mmpretrain's for small RegNets (``imagenet_bs1024_coslr.py``)."""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=100, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.8, momentum=0.9, weight_decay=5e-5, nesterov=True, fused=True),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=True, end=5),
    dict(type='CosineAnnealingLR', by_epoch=True, begin=5, T_max=95),
]
auto_scale_lr = dict(enable=True, base_batch_size=1024)
