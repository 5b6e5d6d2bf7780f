"""DIST with the hyperparameters of CIFAR-100."""

distiller = dict(type='DIST', beta=2.0, gamma=2.0, tau=4.0)
