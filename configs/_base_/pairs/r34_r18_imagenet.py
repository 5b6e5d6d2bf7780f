"""ResNet34 -> ResNet18 on ImageNet. The teacher has torchvision's weights, which are downloaded."""

pair = 'r34_r18_imagenet'
model = dict(
    type='Distillation',
    student=dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, zero_init_residual=False),  # as in torchvision
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=1000, in_channels=512, init_cfg=None),
    ),
    teacher=dict(model='torchvision::resnet34.IMAGENET1K_V1', expected_top1=73.31),
)
