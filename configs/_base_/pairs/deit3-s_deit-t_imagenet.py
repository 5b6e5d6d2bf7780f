"""DeiT III-Small -> DeiT-Tiny on ImageNet. The teacher has mmpretrain's weights, which are downloaded."""

pair = 'deit3-s_deit-t_imagenet'
model = dict(
    type='Distillation',
    student='deit-tiny_4xb256_in1k',
    teacher=dict(model='deit3-small-p16_in21k-pre_3rdparty_in1k', expected_top1=83.06),
)
