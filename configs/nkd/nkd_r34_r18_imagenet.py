"""NKD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2208.10139 and yzd-v/cls_KD.
Deviation: none known.
Published top-1: 71.96 (as the paper gives it).

python tools/train.py configs/nkd/nkd_r34_r18_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r34_r18_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_bs256.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    student='resnet18_8xb32_in1k',
    teacher=dict(model='resnet34_8xb32_in1k', expected_top1=73.62),
    distiller=_base_.distiller,
)
