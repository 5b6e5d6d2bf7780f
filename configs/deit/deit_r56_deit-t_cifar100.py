"""DeiT with a distillation token, ResNet56 -> DeiT-Tiny on CIFAR-100.

Source: arXiv 2012.12877 for the method; pair and schedule are those of sunshangquan/logit-standardization-KD
(tiny-transformers).
Deviation: no published setting of this pair.
Published top-1: none known.

python tools/train.py configs/deit/deit_r56_deit-t_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_deit-t_cifar100.py',
    '../_base_/datasets/cifar100_224.py',
    '../_base_/schedules/cifar_300e_adamw.py',
    '../_base_/default_runtime.py',
]

model = dict(
    student=dict(model_name='deit_tiny_distilled_patch16_224'),
    distiller=dict(type='DeiT'),
)
data_preprocessor = dict(image_size=224)  # of the probe that finds the two heads
no_decay = dict(dist_token=dict(decay_mult=0.0))
optim_wrapper = dict(paramwise_cfg=dict(custom_keys=no_decay))
