"""AT with the hyperparameters of ImageNet."""

distiller = dict(type='AT', taps=('stage1', 'stage2', 'stage3', 'stage4'))
