"""PKT, ResNet56 -> ResNet20 on CIFAR-100.

Source: arXiv 1803.10837 and megvii-research/mdistiller.
Deviation: none known.
Published top-1: 70.34 (last epoch, HobbitLong/RepDistiller).

python tools/train.py configs/pkt/pkt_r56_r20_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r56_r20_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/pkt.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
