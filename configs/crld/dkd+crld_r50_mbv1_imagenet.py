"""CRLD on DKD, ResNet50 -> MobileNetV1 on ImageNet.

Source: arXiv 2412.16493 on arXiv 2203.08679.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/crld/dkd+crld_r50_mbv1_imagenet.py
"""

_base_ = '../dkd/dkd_r50_mbv1_imagenet.py'

model = dict(
    distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller, ce_weight=2.0),
)
data_preprocessor = dict(views=_base_.two_views)
train_dataloader = dict(dataset=dict(pipeline=_base_.two_view_pipeline))
