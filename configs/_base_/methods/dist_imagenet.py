"""DIST with the hyperparameters of ImageNet."""

distiller = dict(type='DIST')
