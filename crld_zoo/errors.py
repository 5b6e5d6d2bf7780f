"""Errors that a user can mend: one sentence that says what is wrong, where, and what to do.

The commands under ``tools/`` print these without a traceback and exit with status 2; everything else is a bug and
keeps its traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A wrong option, file or data set; the base of every error of this module."""

    def __str__(self) -> str:  # KeyError among the bases would print the quoted repr
        return str(self.args[0]) if self.args else ''


class UnknownNameError(InputError, KeyError):
    """A name that no registry, config folder or library knows."""


class MissingFileError(InputError, FileNotFoundError):
    """A file or folder that is not there."""


MOST_LISTED = 20
"""Of more names than these the nearest are given, however far."""


def nearest_names(name: str, known: Iterable[str], count: int = 3) -> str:
    """A clause that names the known names nearest to ``name``; case is ignored.

    >>> nearest_names('DKDD', ['KD', 'DKD', 'NKD'])
    'nearest: DKD, KD, NKD'
    """
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    few = len(by_lower) <= MOST_LISTED
    close = difflib.get_close_matches(name.lower(), by_lower, n=count, cutoff=0.5 if few else 0.0)
    if close:
        return 'nearest: ' + ', '.join(by_lower[match] for match in close)
    return 'known: ' + ', '.join(sorted(by_lower.values())) if by_lower else 'there is none'
