"""SSKD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2006.07114 and xuguodong03/SSKD.
Deviation: the turned images are of the same crop as the plain one, theirs have a crop each.
Published top-1: 76.20 (best epoch on the test set, with a teacher of their own).

python tools/train.py configs/sskd/sskd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/sskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    distiller=dict(_base_.distiller, head='work_dirs/sskdhead_r32x4_cifar100/epoch_60.pth'),
    student_forward='concat',
)
data_preprocessor = dict(views=dict(rotated=dict(of='weak', operations=[dict(type='Rotations')])))
