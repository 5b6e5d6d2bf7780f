"""DKD on standardized logits by pair (Sun et al., CVPR 2024; the logs of sunshangquan/logit-standardization-KD).

The weight multiplies both of DKD's terms.
"""

dkd_ls = {
    f'{names}_cifar100': dict(type='LogitStandardization', distiller=dict(type='DKD', **values))
    for names, values in {
        'r56_r20': dict(kd_weight=18.0, beta=2.0, temperature=3.0),
        'r110_r32': dict(kd_weight=15.0, beta=2.0, temperature=2.0),
        'r110_r20': dict(kd_weight=15.0, beta=2.0, temperature=2.0),
        'r32x4_r8x4': dict(kd_weight=9.0, temperature=2.0),
        'wrn40-2_wrn16-2': dict(kd_weight=12.0, beta=2.0, temperature=2.0),
        'wrn40-2_wrn40-1': dict(kd_weight=12.0, beta=2.0, temperature=2.0),
        'vgg13_vgg8': dict(kd_weight=15.0, beta=2.0, temperature=2.0),
        'r32x4_shuv2': dict(kd_weight=9.0, temperature=2.0),
        'wrn40-2_r8x4': dict(kd_weight=18.0, beta=2.0, temperature=2.0),
        'vgg13_mbv2': dict(kd_weight=9.0, beta=2.0, temperature=3.0),
        'r50_mbv2': dict(kd_weight=15.0, beta=2.0, temperature=2.0),
        'wrn40-2_mbv2': dict(kd_weight=15.0, beta=2.0, temperature=2.0),
        'r32x4_wrn16-2': dict(kd_weight=9.0, beta=2.0, temperature=2.0),
        'r32x4_wrn40-2': dict(kd_weight=9.0, temperature=2.0),
    }.items()
}
