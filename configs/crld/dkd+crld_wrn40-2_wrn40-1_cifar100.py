"""CRLD on DKD, WRN-40-2 -> WRN-40-1 on CIFAR-100.

Source: arXiv 2412.16493 on arXiv 2203.08679.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/dkd+crld_wrn40-2_wrn40-1_cifar100.py
"""

_base_ = '../dkd/dkd_wrn40-2_wrn40-1_cifar100.py'

model = dict(distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller))
