"""IKL by pair of CIFAR-100 (Cui et al., NeurIPS 2024; jiequancui/DKL)."""

ikl = {
    'r56_r20_cifar100': dict(type='IKL', beta=4.0),
    'r32x4_r8x4_cifar100': dict(type='IKL'),
    'wrn40-2_wrn16-2_cifar100': dict(type='IKL', alpha=3.0, beta=12.0),
    'vgg13_vgg8_cifar100': dict(type='IKL', beta=12.0),
}
