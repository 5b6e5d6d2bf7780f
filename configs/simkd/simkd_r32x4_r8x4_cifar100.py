"""SimKD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2203.14001 and DefangChen/SimKD.
Deviation: none known.
Published top-1: 78.08 (as its repository gives it; teacher 79.42).

python tools/train.py configs/simkd/simkd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/simkd.py',
    '../_base_/default_runtime.py',
]

model = dict(student=dict(head=dict(type='TeacherHead', teacher_channels=256)), distiller=_base_.distiller)
