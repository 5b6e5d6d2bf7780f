"""DeiT with a distillation token, RegNetY-16GF -> DeiT-Tiny on ImageNet: each image three times, hard labels.

Source: arXiv 2012.12877 and facebookresearch/deit.
Deviation: the cosine begins after the warm-up instead of with it, and the learning rate moves with each step of the
    warm-up.
Published top-1: 74.50 (as the paper gives it).

python tools/train.py configs/deit/deit_regnety-16gf_deit-t_imagenet.py
"""

_base_ = [
    '../_base_/pairs/regnety-16gf_deit-t_imagenet.py',
    '../_base_/datasets/imagenet_swin.py',
    '../_base_/schedules/imagenet_300e_adamw.py',
    '../_base_/methods/deit.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
train_dataloader = dict(sampler=dict(_delete_=True, type='RepeatAugSampler'))
no_decay = {name: dict(decay_mult=0.0) for name in ('.cls_token', '.dist_token', '.pos_embed')}
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=no_decay), clip_grad=None)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=5),
]
