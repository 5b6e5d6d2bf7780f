"""DKD by pair (Zhao et al., CVPR 2022).

CIFAR-100 and ImageNet from megvii-research/mdistiller, Tiny-ImageNet from the code of CRLD. ResNet110 -> ResNet20,
WRN-40-2 -> MobileNetV2 and ResNet32x4 -> WRN, which mdistiller lacks, are as zju-SWJ/RLD runs DKD on them.
"""

dkd = {
    'r56_r20_cifar100': dict(type='DKD', beta=2.0),
    'r110_r32_cifar100': dict(type='DKD', beta=2.0),
    'r110_r20_cifar100': dict(type='DKD', beta=2.0),
    'r32x4_r8x4_cifar100': dict(type='DKD'),
    'wrn40-2_wrn16-2_cifar100': dict(type='DKD', beta=6.0),
    'wrn40-2_wrn40-1_cifar100': dict(type='DKD', beta=6.0),
    'vgg13_vgg8_cifar100': dict(type='DKD', beta=6.0),
    'r32x4_shuv1_cifar100': dict(type='DKD'),
    'r32x4_shuv2_cifar100': dict(type='DKD'),
    'wrn40-2_shuv1_cifar100': dict(type='DKD'),
    'wrn40-2_r8x4_cifar100': dict(type='DKD'),
    'vgg13_mbv2_cifar100': dict(type='DKD', beta=6.0),
    'r50_mbv2_cifar100': dict(type='DKD'),
    'wrn40-2_mbv2_cifar100': dict(type='DKD', beta=6.0),
    'r32x4_wrn16-2_cifar100': dict(type='DKD'),
    'r32x4_wrn40-2_cifar100': dict(type='DKD'),
    'r32x4_r8x4_tiny_imagenet': dict(type='DKD'),
    'r34_r18_imagenet': dict(type='DKD', temperature=1.0, beta=0.5, warmup=1),
    'r50_mbv1_imagenet': dict(type='DKD', temperature=1.0, beta=2.0, warmup=1),
}
