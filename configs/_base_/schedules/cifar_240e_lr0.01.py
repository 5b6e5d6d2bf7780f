"""The CIFAR-100 schedule from 0.01, for MobileNetV2 and ShuffleNet students."""

_base_ = 'cifar_240e.py'

optim_wrapper = dict(optimizer=dict(lr=0.01))
