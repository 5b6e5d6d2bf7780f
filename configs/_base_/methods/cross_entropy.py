"""Cross-entropy with the labels alone."""

distiller = dict(type='CrossEntropy')
