"""Your own images, step 1 of 2: the teacher, ResNet34 fine-tuned from mmpretrain's ImageNet weights.

Source: mmpretrain's fine-tuning recipe (configs/resnet/resnet50_8xb8_cub.py). Nothing in it is tuned for your images.
The folder is described in configs/_base_/datasets/folder.py.

python tools/train.py configs/your_data/ce_r34_folder.py
"""

_base_ = ['../_base_/datasets/folder.py', '../_base_/schedules/finetune_100e.py', '../_base_/default_runtime.py']

pretrained = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet34_8xb32_in1k_20210831-f257d4e6.pth'
model = dict(
    type='Distillation',
    student=dict(
        type='ImageClassifier',
        backbone=dict(
            type='ResNet', depth=34, init_cfg=dict(type='Pretrained', checkpoint=pretrained, prefix='backbone')
        ),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=_base_.num_classes, in_channels=512),
    ),
    distiller=dict(type='CrossEntropy'),
)
