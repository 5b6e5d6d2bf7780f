"""ResNet32x4 -> ResNet8x4 on Tiny-ImageNet. The teacher is made by cross_entropy/ce_r32x4_tiny_imagenet.py."""

pair = 'r32x4_r8x4_tiny_imagenet'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8x4', num_classes=200),
    teacher=dict(
        model='crld_zoo::resnet32x4',
        num_classes=200,
        checkpoint='work_dirs/ce_r32x4_tiny_imagenet/epoch_240.pth',
    ),
)
