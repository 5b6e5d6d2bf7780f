"""CTKD with the hyperparameters of CIFAR-100."""

distiller = dict(type='CTKD', distiller=dict(type='KD'))
