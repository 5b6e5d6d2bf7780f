"""ResNet32x4 -> ShuffleNetV2 on CIFAR-100. The teacher is made by cross_entropy/ce_r32x4_cifar100.py."""

pair = 'r32x4_shuv2_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::shufflenet_v2', num_classes=100),
    teacher=dict(
        model='crld_zoo::resnet32x4',
        num_classes=100,
        checkpoint='work_dirs/ce_r32x4_cifar100/epoch_240.pth',
        expected_top1=79.42,
    ),
)
