"""100 epochs of SGD at 0.1 for a batch of 256: mmpretrain's ImageNet schedule, which cls_KD takes."""

_base_ = 'imagenet_100e.py'

optim_wrapper = dict(optimizer=dict(lr=0.1))
auto_scale_lr = dict(base_batch_size=256)
