"""VGG13 -> MobileNetV2 on CIFAR-100. The teacher is made by cross_entropy/ce_vgg13_cifar100.py."""

pair = 'vgg13_mbv2_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::mobilenet_v2_half', num_classes=100),
    teacher=dict(
        model='crld_zoo::vgg13',
        num_classes=100,
        checkpoint='work_dirs/ce_vgg13_cifar100/epoch_240.pth',
        expected_top1=74.64,
    ),
)
