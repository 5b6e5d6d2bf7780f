"""NormKD + DKD, VGG13 -> MobileNetV2 on CIFAR-100.

Source: arXiv 2308.00520; alpha and beta of this pair from gizi1/NormKD.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/normkd_dkd/normkd_dkd_vgg13_mbv2_cifar100.py
"""

_base_ = [
    '../_base_/pairs/vgg13_mbv2_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e_lr0.01.py',
    '../_base_/methods/normkd_dkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.normkd_dkd[_base_.pair])
