"""ResNet34 -> ResNet18 on CIFAR-100. The teacher is made by cross_entropy/ce_r34_cifar100.py."""

pair = 'r34_r18_cifar100'
model = dict(
    type='Distillation',
    student=dict(model='crld_zoo::resnet18_cifar', num_classes=100),
    teacher=dict(
        model='crld_zoo::resnet34_cifar',
        num_classes=100,
        checkpoint='work_dirs/ce_r34_cifar100/epoch_200.pth',
    ),
)
