"""MLLD on standardized logits, WRN-40-2 -> WRN-16-2 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: the published code trains longer (480 epochs or more), its steps at 150, 180 and 210 still; this is the
schedule of the other methods.
Published top-1: 76.95 (best epoch on the test set).

python tools/train.py configs/logit_standardization/mlld+ls_wrn40-2_wrn16-2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/wrn40-2_wrn16-2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/mlld+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.mlld_ls[_base_.pair])
