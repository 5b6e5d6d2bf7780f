"""DKD on standardized logits, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2403.01427 and sunshangquan/logit-standardization-KD.
Deviation: none known.
Published top-1: 72.32 (best epoch on the test set).

python tools/train.py configs/logit_standardization/dkd+ls_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/dkd+ls.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.dkd_ls[_base_.pair])
