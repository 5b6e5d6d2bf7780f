"""USKD, ShuffleNetV2 on ImageNet.

Source: arXiv 2303.13005 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: none known.
Published top-1: 70.30 (as the paper gives it).

python tools/train.py configs/uskd/uskd_shuv2_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e_shuv2.py',
    '../_base_/methods/uskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='shufflenet-v2-1x_16xb64_in1k',
    distiller=dict(_base_.distiller, tap='backbone.layers.2'),
)
data_preprocessor = dict(image_size=224)  # of the probe that the weak head is made from
