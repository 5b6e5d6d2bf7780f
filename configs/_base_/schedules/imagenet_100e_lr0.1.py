"""The ImageNet schedule of 100 epochs from 0.1 for a batch of 512, as MLLD uses it."""

_base_ = 'imagenet_100e.py'

optim_wrapper = dict(optimizer=dict(lr=0.1))
