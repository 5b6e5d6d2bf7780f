"""KD, ResNet32x4 -> ShuffleNetV2 on CIFAR-100.

Source: arXiv 1503.02531 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 74.45 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/kd/kd_r32x4_shuv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_shuv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
