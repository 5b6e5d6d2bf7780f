"""CRLD on NormKD, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2412.16493 on arXiv 2308.00520.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/normkd+crld_r32x4_r8x4_cifar100.py
"""

_base_ = '../normkd/normkd_r32x4_r8x4_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
