"""CRLD on NKD, ResNet34 -> ResNet18 on ImageNet.

Source: arXiv 2412.16493 on arXiv 2208.10139.
Deviation: teacher and schedule are NKD's.
Published top-1: none recorded here.

python tools/train.py configs/crld/nkd+crld_r34_r18_imagenet.py
"""

_base_ = '../nkd/nkd_r34_r18_imagenet.py'

model = dict(
    distiller=dict(_delete_=True, type='CRLD', distiller=_base_.model.distiller, ce_weight=2.0),
)
data_preprocessor = dict(views=_base_.two_views)
train_dataloader = dict(dataset=dict(pipeline=_base_.two_view_pipeline))
