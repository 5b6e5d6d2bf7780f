"""CAT-KD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2304.12777 and GzyAftermath/CAT-KD.
Deviation: the student's classifier has a bias, which its class maps leave out.
Published top-1: none recorded here.

python tools/train.py configs/catkd/catkd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/catkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.catkd[_base_.pair])
