"""SDD around KD with the hyperparameters of CIFAR-100."""

distiller = dict(type='SDD', distiller=dict(type='KD'))
