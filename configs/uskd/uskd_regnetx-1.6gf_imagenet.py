"""USKD, RegNetX-1.6GF on ImageNet.

Source: arXiv 2303.13005 and yzd-v/cls_KD; network and schedule are mmpretrain's.
Deviation: batch norms keep running means, theirs are measured anew after each epoch.
Published top-1: 77.30 (as the paper gives it).

python tools/train.py configs/uskd/uskd_regnetx-1.6gf_imagenet.py
"""

_base_ = [
    '../_base_/datasets/imagenet.py',
    '../_base_/schedules/imagenet_100e_regnet.py',
    '../_base_/methods/uskd.py',
    '../_base_/default_runtime.py',
]

model = dict(
    type='Distillation',
    student='regnetx-1.6gf_8xb128_in1k',
    distiller=_base_.distiller,
)
data_preprocessor = dict(image_size=224)  # of the probe that the weak head is made from

lighting = dict(
    type='Lighting',
    eigval=[0.2175, 0.0188, 0.0045],
    eigvec=[[-0.5836, -0.6948, 0.4203], [-0.5808, -0.0045, -0.814], [-0.5675, 0.7192, 0.4009]],
    alphastd=25.5,
    to_rgb=False,  # before the preprocessor the channels are still BGR
)
train_pipeline = [*_base_.train_pipeline[:-1], lighting, _base_.train_pipeline[-1]]
train_dataloader = dict(batch_size=128, dataset=dict(pipeline=train_pipeline))
