"""GKD with the hyperparameters of CIFAR-100."""

distiller = dict(type='GKD', hcm_n=10)
