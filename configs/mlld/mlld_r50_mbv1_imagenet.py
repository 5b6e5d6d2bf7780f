"""MLLD, ResNet50 -> MobileNetV1 on ImageNet.

Source: CVPR 2023, Jin-Ying/Multi-Level-Logit-Distillation.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/mlld/mlld_r50_mbv1_imagenet.py
"""

_base_ = [
    '../_base_/pairs/r50_mbv1_imagenet.py',
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e.py',
    '../_base_/methods/mlld_imagenet.py',
    '../_base_/default_runtime.py',
]

model = dict(
    distiller=_base_.distiller,
)
data_preprocessor = dict(views=_base_.two_views)
train_dataloader = dict(dataset=dict(pipeline=_base_.two_view_pipeline))
