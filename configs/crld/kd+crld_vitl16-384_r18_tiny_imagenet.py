"""CRLD on KD, ViT-L/16 at 384 pixels -> ResNet18 on Tiny-ImageNet: plain CRLD.

Source: arXiv 2412.16493.
Deviation: the published code gives both networks the images at 384 pixels; here the student sees 64, the teacher 384.
The crop moves by as large a share of the image as theirs (8 of 384 pixels, 1 of 64).
Published top-1: none recorded here.

python tools/train.py configs/crld/kd+crld_vitl16-384_r18_tiny_imagenet.py
"""

_base_ = [
    '../_base_/pairs/vitl16-384_r18_tiny_imagenet.py',
    '../_base_/datasets/tiny_imagenet.py',
    '../_base_/schedules/tiny_imagenet_100e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

crop = [dict(type='RandomCrop', size=64, padding=1), dict(type='RandomFlip')]
data_preprocessor = dict(views=dict(weak=crop, strong=[*crop, dict(type='RandAugment'), dict(type='Cutout')]))
model = dict(
    distiller=dict(
        type='CRLD',
        distiller=dict(_base_.distiller, temperature=2.0),
    ),
)
train_dataloader = dict(batch_size=32)
