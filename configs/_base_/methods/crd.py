"""CRD with the hyperparameters of CIFAR-100, which ImageNet shares."""

distiller = dict(type='CRD')
