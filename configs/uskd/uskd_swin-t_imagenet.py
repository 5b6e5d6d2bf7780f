"""USKD, Swin-T on ImageNet.

Source: arXiv 2303.13005 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: the weak head sees the map as the stage gives it, theirs sees it normalized.
Published top-1: 81.49 (as the paper gives it).

python tools/train.py configs/uskd/uskd_swin-t_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet_swin.py',
    '../_base_/schedules/imagenet_300e_adamw.py',
    '../_base_/methods/uskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='swin-tiny_16xb64_in1k',
    distiller=dict(_base_.distiller, label_smoothing=0.1),
)
