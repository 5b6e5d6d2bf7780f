"""MLLD with the hyperparameters of CIFAR-100 (Jin et al., CVPR 2023)."""

distiller = dict(type='MLLD')
