"""NormKD with the hyperparameters of CIFAR-100 (Chi et al., arXiv 2308.00520)."""

distiller = dict(type='NormKD')
