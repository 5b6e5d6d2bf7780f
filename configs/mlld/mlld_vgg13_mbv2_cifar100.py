"""MLLD, VGG13 -> MobileNetV2 on CIFAR-100.

Source: CVPR 2023, Jin-Ying/Multi-Level-Logit-Distillation.
Deviation: the published code trains this pair for 480 epochs from 0.01, its steps at 150, 180 and 210 still; this
is the schedule of the other methods.
Published top-1: 70.57 (best epoch on the test set).

python tools/train.py configs/mlld/mlld_vgg13_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/vgg13_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/mlld.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
