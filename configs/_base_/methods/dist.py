"""DIST for CIFAR-100; these values could not be held against the published config."""

distiller = dict(type='DIST', beta=2.0, gamma=2.0, tau=4.0)
