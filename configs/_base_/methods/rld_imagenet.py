"""RLD with the hyperparameters of ImageNet."""

distiller = dict(type='RLD', temperature=1.0, beta=0.5, warmup=1)
