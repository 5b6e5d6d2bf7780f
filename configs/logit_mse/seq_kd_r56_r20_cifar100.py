"""Sequential distillation, KD at a small temperature after LogitMSE, ResNet56 -> ResNet20 on CIFAR-100.

Step 2 of 2: the student starts from what configs/logit_mse/logit_mse_r56_r20_cifar100.py left.
Source: arXiv 2105.08919 and jhoon-oh/kd_data.
Deviation: the schedule is that of the other recipes of this pair, in both steps; of its temperatures this takes 1.
Published top-1: none recorded here.

python tools/train.py configs/logit_mse/seq_kd_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=dict(_base_.distiller, temperature=1.0, ce_weight=0.0, kd_weight=1.0))
load_from = 'work_dirs/logit_mse_r56_r20_cifar100/epoch_240.pth'
