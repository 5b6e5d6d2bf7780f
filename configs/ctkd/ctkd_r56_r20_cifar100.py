"""KD with a learned temperature (CTKD), ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2211.16231 and zhengli97/CTKD.
Deviation: none known.
Published top-1: 71.19 (best epoch on the test set).

python tools/train.py configs/ctkd/ctkd_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/ctkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
