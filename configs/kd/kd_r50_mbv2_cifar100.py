"""KD, ResNet50 -> MobileNetV2 on CIFAR-100.

Source: arXiv 1503.02531 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 67.35 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/kd/kd_r50_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
