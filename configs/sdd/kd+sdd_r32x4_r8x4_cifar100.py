"""KD with regions (SDD), ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2403.13512 and shicaiwei123/SDD-CVPR2024.
Deviation: none known.
Published top-1: 75.59 (the better of two runs in its teacher_resnet32x4.sh).

python tools/train.py configs/sdd/kd+sdd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd+sdd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=dict(_base_.distiller, scales=[1, 2]))
