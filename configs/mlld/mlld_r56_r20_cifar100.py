"""MLLD, ResNet56 -> ResNet20 on CIFAR-100.

Source: CVPR 2023, Jin-Ying/Multi-Level-Logit-Distillation.
Deviation: the published code trains this pair for 240 epochs from 0.025; this is the schedule of the other methods.
Published top-1: 72.19 (best epoch on the test set).

python tools/train.py configs/mlld/mlld_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/mlld.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
