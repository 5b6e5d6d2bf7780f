"""NormKD + DKD by pair, on CIFAR-100 and ImageNet (Chi et al., arXiv 2308.00520; gizi1/NormKD)."""

normkd_dkd = {
    **{
        f'{names}_cifar100': dict(type='NormKD', distiller=dict(type='DKD', alpha=alpha, beta=beta))
        for names, (alpha, beta) in {
            'r56_r20': (7.0, 2.0),
            'r110_r32': (5.0, 4.0),
            'r32x4_r8x4': (4.0, 5.0),
            'wrn40-2_wrn16-2': (4.0, 5.0),
            'wrn40-2_wrn40-1': (3.0, 6.0),
            'vgg13_vgg8': (2.0, 7.0),
            'r32x4_shuv1': (0.5, 8.5),
            'r32x4_shuv2': (4.0, 5.0),
            'wrn40-2_shuv1': (4.0, 5.0),
            'vgg13_mbv2': (3.0, 6.0),
            'r50_mbv2': (2.0, 7.0),
        }.items()
    },
    'r34_r18_imagenet': dict(type='NormKD', temperature_norm=0.5, distiller=dict(type='DKD', beta=1.0, warmup=1)),
    'r50_mbv1_imagenet': dict(type='NormKD', temperature_norm=0.75, distiller=dict(type='DKD', beta=1.0, warmup=1)),
}
