"""KD with regions (SDD), ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2403.13512 and shicaiwei123/SDD-CVPR2024.
Deviation: the scales are those of the published example, since none are published for this pair.
Published top-1: none recorded here.

python tools/train.py configs/sdd/kd+sdd_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd+sdd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
