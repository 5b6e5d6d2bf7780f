"""MLLD on standardized logits, ResNet32x4 -> ShuffleNetV2 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: the published code trains longer (480 epochs or more) from 0.025, its steps at 150, 180 and 210 still; this
is the schedule of the other methods.
Published top-1: 78.76 (best epoch on the test set).

python tools/train.py configs/logit_standardization/mlld+ls_r32x4_shuv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_shuv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/mlld+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.mlld_ls[_base_.pair])
