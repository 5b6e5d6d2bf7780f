"""WSLD with the hyperparameters of ImageNet."""

distiller = dict(type='WSLD', temperature=2.0, alpha=2.5)
