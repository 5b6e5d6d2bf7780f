"""MLLD, WRN-40-2 -> ResNet8x4 on CIFAR-100.

Source: CVPR 2023, Jin-Ying/Multi-Level-Logit-Distillation.
Deviation: the published code has no schedule for this pair, that of logit standardization trains it for 480 epochs
from 0.025, its steps at 150, 180 and 210 still; this is the schedule of the other methods.
Published top-1: 77.33 (best epoch on the test set).

python tools/train.py configs/mlld/mlld_wrn40-2_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/mlld.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
