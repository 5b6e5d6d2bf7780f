"""NKD, DeiT III-Small -> DeiT-Tiny on ImageNet.

Source: arXiv 2208.10139 and yzd-v/cls_KD.
Deviation: none known; their code leaves out Mixup and CutMix too.
Published top-1: 76.68 (as the paper gives it).

python tools/train.py configs/nkd/nkd_deit3-s_deit-t_imagenet.py
"""

_base_ = [
    '../_base_/pairs/deit3-s_deit-t_imagenet.py',
    '../_base_/datasets/imagenet_swin.py',
    '../_base_/schedules/imagenet_300e_adamw.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    distiller=dict(_base_.distiller, gamma=1.0, label_smoothing=0.1),
)
data_preprocessor = dict(batch_augments=dict(_delete_=True))
no_decay = {'.cls_token': dict(decay_mult=0.0), '.pos_embed': dict(decay_mult=0.0)}
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=no_decay))
