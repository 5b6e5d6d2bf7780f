"""DKD, VGG13 -> MobileNetV2 on CIFAR-100.

Source: arXiv 2203.08679 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 69.71 (best epoch on the test set).

python tools/train.py configs/dkd/dkd_vgg13_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/vgg13_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/dkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.dkd[_base_.pair])
