"""Measuring: where a training step's time goes, and how it compares with the usual way to write it.

``tools/benchmark.py`` is the command. ``docs/performance.md`` says what was found.
"""

from .compare import OURS, REFERENCE, Comparison, Setting, compare, grid
from .machine import describe_machine
from .setup import Options, in_way
from .step import StepTimes, time_step

__all__ = [
    'OURS',
    'REFERENCE',
    'Comparison',
    'Options',
    'Setting',
    'StepTimes',
    'compare',
    'describe_machine',
    'grid',
    'in_way',
    'time_step',
]
