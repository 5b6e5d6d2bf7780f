"""Teacher-free NKD, ShuffleNetV2 on ImageNet.

Source: arXiv 2208.10139v1 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: none known.
Published top-1: 69.93 (as the paper gives it).

python tools/train.py configs/tf_nkd/tf_nkd_shuv2_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_300e_shuv2.py',
    '../_base_/methods/tf_nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='shufflenet-v2-1x_16xb64_in1k',
    distiller=_base_.distiller,
)
