"""CRLD on MLLD, ResNet50 -> MobileNetV1 on ImageNet.

Source: arXiv 2412.16493 on the MLLD of CVPR 2023.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/mlld+crld_r50_mbv1_imagenet.py
"""

_base_ = '../mlld/mlld_r50_mbv1_imagenet.py'

model = dict(
    distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller, ce_weight=2.0),
)
