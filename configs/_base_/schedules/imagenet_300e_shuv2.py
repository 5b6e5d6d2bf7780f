"""300 epochs of SGD, linear decay from 0.5 for a batch of 1024: mmpretrain's schedule of ShuffleNetV2.

mmpretrain's ``imagenet_bs1024_linearlr_bn_nowd.py``: 5,000 iterations of warm-up, no weight decay on norms.
"""

train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=300, val_interval=1)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    optimizer=dict(type='SGD', lr=0.5, momentum=0.9, weight_decay=4e-5, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0),
)
param_scheduler = [
    dict(type='ConstantLR', factor=0.1, by_epoch=False, begin=0, end=5000),
    dict(type='PolyLR', eta_min=0, by_epoch=False, begin=5000),
]
auto_scale_lr = dict(enable=True, base_batch_size=1024)
