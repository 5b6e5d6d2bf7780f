"""MLLD on standardized logits by pair (Sun et al., CVPR 2024; the logs of sunshangquan/logit-standardization-KD).

WRN-40-2 -> MobileNetV2 and ResNet56 -> ResNet20, which have no log, are as its README runs MLLD.
"""

mlld_ls = {
    f'{names}_cifar100': dict(
        type='LogitStandardization',
        distiller=dict(type='MLLD', temperature=2.0, kd_weight=weight),
    )
    for names, weight in {
        'r56_r20': 9.0,
        'r110_r32': 9.0,
        'r110_r20': 9.0,
        'r32x4_r8x4': 9.0,
        'wrn40-2_wrn16-2': 9.0,
        'wrn40-2_wrn40-1': 9.0,
        'vgg13_vgg8': 6.0,
        'r32x4_shuv2': 6.0,
        'wrn40-2_r8x4': 9.0,
        'vgg13_mbv2': 6.0,
        'r50_mbv2': 9.0,
        'wrn40-2_mbv2': 9.0,
        'r32x4_wrn16-2': 9.0,
        'r32x4_wrn40-2': 9.0,
    }.items()
}
