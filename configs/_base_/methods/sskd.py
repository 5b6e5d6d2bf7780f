"""SSKD with the hyperparameters of CIFAR-100: the head of its teacher goes by the teacher, and is in the recipe."""

distiller = dict(type='SSKD')
