"""MGD with the hyperparameters of CIFAR-100."""

distiller = dict(type='MGD', taps=('stage3',), kd_weight=0.0012)
