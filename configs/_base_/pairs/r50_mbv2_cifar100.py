"""ResNet50 -> MobileNetV2 on CIFAR-100. The teacher is made by cross_entropy/ce_r50_cifar100.py."""

pair = 'r50_mbv2_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::mobilenet_v2_half', num_classes=100),
    teacher=dict(
        model='crld_zoo::resnet50_cifar',
        num_classes=100,
        checkpoint='work_dirs/ce_r50_cifar100/epoch_240.pth',
        expected_top1=79.34,
    ),
)
