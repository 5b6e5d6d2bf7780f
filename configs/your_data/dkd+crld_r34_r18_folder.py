"""Your own images, step 2 of 2: ResNet34 teaches ResNet18 with DKD decorated by CRLD.

Step 1 makes the teacher: configs/your_data/ce_r34_folder.py.
Source: the ImageNet recipe of this pair (configs/crld/dkd+crld_r34_r18_imagenet.py) on the schedule of step 1. Nothing
in it is tuned for your images.

python tools/train.py configs/your_data/dkd+crld_r34_r18_folder.py
"""

_base_ = 'ce_r34_folder.py'

pretrained = 'https://download.openmmlab.com/mmclassification/v0/resnet/resnet18_8xb32_in1k_20210831-fbbb1da6.pth'
model = dict(
    student=dict(backbone=dict(depth=18, init_cfg=dict(checkpoint=pretrained))),
    teacher=dict(
        model='crld_zoo::resnet34_imagenet',
        num_classes=_base_.num_classes,
        checkpoint='work_dirs/ce_r34_folder/epoch_100.pth',
    ),
    distiller=dict(
        _delete_=True,
        type='CRLD',
        distiller=dict(type='DKD', temperature=1.0, beta=0.5, warmup=1),
        ce_weight=2.0,
    ),
)
