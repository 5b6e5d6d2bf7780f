"""DeepKD on DKD's terms, ResNet32x4 -> ResNet8x4 on CIFAR-100.

Source: arXiv 2505.15133 and haiduo/DeepKD.
Deviation: none known.
Published top-1: none recorded here.

python tools/train.py configs/deepkd/deepkd_r32x4_r8x4_cifar100.py
"""

_base_ = [
    '../_base_/pairs/r32x4_r8x4_cifar100.py',
    '../_base_/datasets/cifar100.py',
    '../_base_/schedules/cifar_240e.py',
    '../_base_/methods/deepkd.py',
    '../_base_/default_runtime.py',
]

model = dict(distiller=_base_.distiller)
# In the order of their steps. The task's is the target class's, as in the published code; in the paper it is 0.975.
optim_wrapper = dict(type='GroupedOptimWrapper', momenta=dict(task=0.825, non_target=0.95, target=0.825))
