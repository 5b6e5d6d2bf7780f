"""MMEngine lays out a config once in the tests: a run asks for it seven times, two fifths of the time of a tiny one."""

from __future__ import annotations

import crld_zoo  # noqa: F401  its remedies come before everything of MMEngine

# isort: split
from mmengine.config import config

_lay_out, _laid_out = config.FormatCode, {}


def _lay_out_once(text: str, **options) -> tuple[str, bool]:
    if text not in _laid_out:
        _laid_out[text] = _lay_out(text, **options)
    return _laid_out[text]


config.FormatCode = _lay_out_once
