"""MLLD on standardized logits, ResNet50 -> MobileNetV2 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: the published code trains longer (480 epochs or more), its steps at 150, 180 and 210 still; this is the
schedule of the other methods.
Published top-1: 71.19 (best epoch on the test set).

python tools/train.py configs/logit_standardization/mlld+ls_r50_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/mlld+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.mlld_ls[_base_.pair])
