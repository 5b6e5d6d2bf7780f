"""ResNet110 -> ResNet20 on CIFAR-100. The teacher is made by cross_entropy/ce_r110_cifar100.py."""

pair = 'r110_r20_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet20', num_classes=100),
    teacher=dict(
        model='crld_zoo::resnet110',
        num_classes=100,
        checkpoint='work_dirs/ce_r110_cifar100/epoch_240.pth',
        expected_top1=74.31,
    ),
)
