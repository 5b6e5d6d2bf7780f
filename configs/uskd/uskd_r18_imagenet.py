"""USKD, ResNet18 on ImageNet.

Source: arXiv 2303.13005 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: none known.
Published top-1: 70.79 (as the paper gives it).

python tools/train.py configs/uskd/uskd_r18_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/uskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='resnet18_8xb32_in1k',
    distiller=_base_.distiller,
)
data_preprocessor = dict(image_size=224)  # of the probe that the weak head is made from
