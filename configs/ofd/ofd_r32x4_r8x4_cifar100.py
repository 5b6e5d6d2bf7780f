"""OFD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 1904.01866 and megvii-research/mdistiller.
Deviation: the teacher's batch norms use their running statistics; in the public code, those of the batch.
Published top-1: 74.95 (as a later table gives it).

python tools/train.py configs/ofd/ofd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/ofd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
