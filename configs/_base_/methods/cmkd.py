"""CMKD with the hyperparameters of CIFAR-100."""

distiller = dict(type='CMKD')
