"""KD and attention transfer together, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1503.02531 and arXiv 1612.03928, with the weights of each.
Deviation: the combination is ours.
Published top-1: none recorded here.

python tools/train.py configs/sum/sum_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/sum.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
