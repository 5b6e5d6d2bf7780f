"""CRLD on DKD, ResNet32x4 -> ShuffleNetV2 on CIFAR-100.

Source: arXiv 2412.16493 on arXiv 2203.08679.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/dkd+crld_r32x4_shuv2_cifar100.py
"""

_base_ = '../dkd/dkd_r32x4_shuv2_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
