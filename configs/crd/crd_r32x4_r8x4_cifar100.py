"""CRD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1910.10699 and megvii-research/mdistiller.
Deviation: the negatives are a function of the sample and the step; what is remembered is embedded after the step.
Published top-1: 75.51 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/crd/crd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/crd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
