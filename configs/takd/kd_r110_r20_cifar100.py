"""TAKD, the assistant learns from the teacher: ResNet110 -> ResNet20 on CIFAR-100.

Step 2 of 3: the assistant learns from the teacher. Before it: configs/cross_entropy/ce_r110_cifar100.py.
Source: arXiv 1902.03393 and imirzadeh/Teacher-Assistant-Knowledge-Distillation.
Deviation: KD's weights and temperature and the schedule are those of the other methods; the paper searches for them.
Published top-1: 70.67 (last epoch, HobbitLong/RepDistiller; as KD, not as an assistant).

python tools/train.py configs/takd/kd_r110_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r110_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/kd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
