"""KD with the hyperparameters of CIFAR-100 (Hinton et al., 2015)."""

distiller = dict(type='KD')
