"""Teacher-free NKD, Swin-T on ImageNet.

Source: arXiv 2208.10139v1 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: no label smoothing.
Published top-1: 81.48 (as the paper gives it).

python tools/train.py configs/tf_nkd/tf_nkd_swin-t_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet_swin.py',
    '../_base_/schedules/imagenet_300e_adamw.py',
    '../_base_/methods/tf_nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='swin-tiny_16xb64_in1k',
    distiller=_base_.distiller,
)
