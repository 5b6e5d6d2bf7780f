"""USKD, DeiT-T on ImageNet.

Source: arXiv 2303.13005 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: none known.
Published top-1: 74.97 (as the paper gives it).

python tools/train.py configs/uskd/uskd_deit-t_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet_swin.py',
    '../_base_/schedules/imagenet_300e_adamw.py',
    '../_base_/methods/uskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='deit-tiny_4xb256_in1k',
    distiller=dict(_base_.distiller, tap='stage2', label_smoothing=0.1),
)
no_decay = {'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)}
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=no_decay))
