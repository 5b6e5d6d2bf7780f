"""ReviewKD by pair of CIFAR-100 (Chen et al., CVPR 2021; the weights of dvlab-research/ReviewKD)."""

reviewkd = {
    f'{names}_cifar100': dict(type='ReviewKD', **weight)
    for names, weight in {
        'r56_r20': dict(kd_weight=0.6),
        'r110_r32': {},
        'r32x4_r8x4': dict(kd_weight=5.0),
        'wrn40-2_wrn16-2': dict(kd_weight=5.0),
        'wrn40-2_wrn40-1': dict(kd_weight=5.0),
        'r32x4_shuv1': dict(kd_weight=5.0),
        'wrn40-2_shuv1': dict(kd_weight=5.0),
        'r32x4_shuv2': dict(kd_weight=8.0),
    }.items()
}
