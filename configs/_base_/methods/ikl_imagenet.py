"""IKL with the hyperparameters of ImageNet."""

distiller = dict(type='IKL', temperature=1.0, beta=0.5, t2=1.0, class_table=True)
