"""MLLD, ResNet32x4 -> ShuffleNetV1 on CIFAR-100.

Source: CVPR 2023, Jin-Ying/Multi-Level-Logit-Distillation.
Deviation: the published code trains this pair for 960 epochs from 0.01, its steps at 150, 180 and 210 still; this
is the schedule of the other methods.
Published top-1: none recorded here.

python tools/train.py configs/mlld/mlld_r32x4_shuv1_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_shuv1_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/mlld.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
