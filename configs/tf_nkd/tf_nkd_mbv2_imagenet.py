"""Teacher-free NKD, MobileNetV2 on ImageNet.

Source: arXiv 2208.10139v1 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: none known.
Published top-1: 72.08 (as the paper gives it).

python tools/train.py configs/tf_nkd/tf_nkd_mbv2_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e_mbv2.py',
    '../_base_/methods/tf_nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='mobilenet-v2_8xb32_in1k',
    distiller=_base_.distiller,
)
