"""ResNet56 -> ResNet20 on CIFAR-100. The teacher is made by cross_entropy/ce_r56_cifar100.py."""

pair = 'r56_r20_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet20', num_classes=100),
    teacher=dict(
        model='crld_zoo::resnet56',
        num_classes=100,
        checkpoint='work_dirs/ce_r56_cifar100/epoch_240.pth',
        expected_top1=72.34,
    ),
)
