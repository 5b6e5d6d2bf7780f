"""A plugin-based zoo of distillers for image classification on MMEngine."""

from . import compat  # noqa: F401  first: it mends what the imports below need
from .version import __version__

__all__ = ['__version__']
