"""CRLD on KD, ResNet32x4 -> ResNet8x4 on CIFAR-100: plain CRLD.

Source: arXiv 2412.16493.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/kd+crld_r32x4_r8x4_cifar100.py
"""

_base_ = '../kd/kd_r32x4_r8x4_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
