"""Teacher-free NKD, ResNet50 on ImageNet.

Source: arXiv 2208.10139v1 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: none known.
Published top-1: 76.93 (as the paper gives it).

python tools/train.py configs/tf_nkd/tf_nkd_r50_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/tf_nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='resnet50_8xb32_in1k',
    distiller=_base_.distiller,
)
