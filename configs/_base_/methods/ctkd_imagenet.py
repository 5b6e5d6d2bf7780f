"""CTKD with the hyperparameters of ImageNet."""

distiller = dict(type='CTKD', decay_loops=5, distiller=dict(type='KD'))
