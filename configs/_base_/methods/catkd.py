"""CAT-KD by pair of CIFAR-100 (Guo et al., CVPR 2023; GzyAftermath/CAT-KD)."""

catkd = {
    **{
        f'{names}_cifar100': dict(type='CATKD', kd_weight=weight, normalize=False)
        for names, weight in {
            'r56_r20': 0.7,
            'r110_r32': 1.8,
            'r32x4_r8x4': 15.0,
            'wrn40-2_wrn16-2': 12.0,
            'wrn40-2_wrn40-1': 1.5,
            'vgg13_vgg8': 4.5,
        }.items()
    },
    'vgg13_mbv2_cifar100': dict(type='CATKD', kd_weight=15.0),
    'r50_mbv2_cifar100': dict(type='CATKD', kd_weight=40.0),
    'r32x4_shuv1_cifar100': dict(type='CATKD', kd_weight=600.0, cam_resolution=4),
    'r32x4_shuv2_cifar100': dict(type='CATKD', kd_weight=600.0, cam_resolution=4),
    'wrn40-2_shuv1_cifar100': dict(type='CATKD', kd_weight=80.0, cam_resolution=4),
}
