"""ResNet20 -> ResNet8 on CIFAR-100. The assistant is made by takd/kd_r110_r20_cifar100.py."""

pair = 'r20_r8_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet8', num_classes=100),
    teacher=dict(
        model='crld_zoo::resnet20',
        num_classes=100,
        checkpoint='work_dirs/kd_r110_r20_cifar100/epoch_240.pth',
    ),
)
