"""NKD, Swin-L -> Swin-T on ImageNet.

Source: arXiv 2208.10139 and yzd-v/cls_KD.
Deviation: the papers give no recipe for Swin as student: this is the one of DeiT-Tiny, without Mixup and CutMix as
well.
Published top-1: none recorded here.

python tools/train.py configs/nkd/nkd_swin-l_swin-t_imagenet.py
"""

_base_ = [
    '../_base_/pairs/swin-l_swin-t_imagenet.py',
    '../_base_/datasets/imagenet_swin.py',
    '../_base_/schedules/imagenet_300e_adamw.py',
    '../_base_/methods/nkd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    distiller=dict(_base_.distiller, gamma=1.0, label_smoothing=0.1),
)
data_preprocessor = dict(batch_augments=dict(_delete_=True))
