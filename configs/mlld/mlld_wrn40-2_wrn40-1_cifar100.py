"""MLLD, WRN-40-2 -> WRN-40-1 on CIFAR-100.

Source: CVPR 2023, Jin-Ying/Multi-Level-Logit-Distillation.
Deviation: the published code trains this pair for 240 epochs from 0.025; this is the schedule of the other methods.
Published top-1: 75.35 (best epoch on the test set).

python tools/train.py configs/mlld/mlld_wrn40-2_wrn40-1_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_wrn40-1_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/mlld.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
