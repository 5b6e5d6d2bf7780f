"""KD, VGG13 -> VGG8 on CIFAR-100.

Source: arXiv 1503.02531 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 72.98 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/kd/kd_vgg13_vgg8_cifar100.py
"""

_base_ = [
    '../_base_/pairs/vgg13_vgg8_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
