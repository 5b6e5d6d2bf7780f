"""KD of each pixel, DeepLabV3-ResNet101 -> LR-ASPP-MobileNetV3 on Pascal VOC: a first step to dense prediction.

Source: no paper known; the schedule is ours.
Deviation: none known.
Published top-1: none; the measure is the mean intersection over union.

python tools/train.py configs/dense/kd+dense_dl3-r101_lraspp-mbv3_voc.py
"""

_base_ = [
    '../_base_/pairs/dl3-r101_lraspp-mbv3_voc.py',
    '../_base_/datasets/voc.py',
    '../_base_/schedules/voc_60e.py',
    '../_base_/methods/kd+dense.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
default_hooks = dict(checkpoint=dict(save_best='miou/mean'), teacher_accuracy=None)
