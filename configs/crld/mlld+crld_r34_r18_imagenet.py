"""CRLD on MLLD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2412.16493 on the MLLD of CVPR 2023.
Deviation: the schedule is MLLD's.
Published top-1: none recorded here.

python tools/train.py configs/crld/mlld+crld_r34_r18_imagenet.py
"""

_base_ = '../mlld/mlld_r34_r18_imagenet.py'

model = dict(
    distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller, ce_weight=2.0),
)
