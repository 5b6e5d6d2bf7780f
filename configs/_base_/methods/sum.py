"""KD and attention transfer together, each with its own weight."""

distiller = dict(type='Sum', distillers=[dict(type='KD'), dict(type='AT')])
