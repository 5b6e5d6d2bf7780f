"""Packages that only some commands need."""

from __future__ import annotations

import importlib

from crld_zoo.errors import InputError


def required(package: str, extra: str):
    """A package of an extra.

    Raises:
        InputError: It is not installed; the extra is named.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise InputError(f"this needs {package}: pip install 'crld-zoo[{extra}]'") from error
