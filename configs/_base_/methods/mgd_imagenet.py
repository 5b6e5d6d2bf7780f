"""MGD with the hyperparameters of ImageNet."""

distiller = dict(type='MGD')
