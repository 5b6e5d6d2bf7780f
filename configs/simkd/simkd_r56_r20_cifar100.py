"""SimKD, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 2203.14001 and DefangChen/SimKD.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/simkd/simkd_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/simkd.py',
    '../_base_/default_runtime.py',
]

model = dict(student=dict(head=dict(type='TeacherHead', teacher_channels=64)), distiller=_base_.distiller)
