"""The few statistics that a table of several seeds needs."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Difference(NamedTuple):
    """How far one row lies above another.

    Attributes:
        mean: Of the differences at equal seeds.
        margin: Half the width of the 95 % interval around it; None with one seed.
        seeds: How many both rows have.
    """

    mean: float
    margin: float | None
    seeds: int


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation of a sample (``n - 1``); of one value there is no deviation.

    >>> mean_and_deviation([1.0, 3.0])
    (2.0, 1.4142135623730951)
    """
    return statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None


def paired_difference(values: Mapping[int, float], reference: Mapping[int, float]) -> Difference | None:
    r"""The difference of two rows at the seeds that both have, with its 95 % interval.

    .. math::
        \bar d \pm t_{0.975,\, n-1}\; s_d / \sqrt n, \qquad d_i = x_i - r_i

    Args:
        values: By seed.
        reference: Likewise.

    Returns:
        None where no seed is common.

    >>> paired_difference({0: 2.0, 1: 4.0, 2: 9.0}, {0: 1.0, 1: 2.0})
    Difference(mean=1.5, margin=6.353102368087349, seeds=2)
    """
    differences = [values[seed] - reference[seed] for seed in values if seed in reference]
    if not differences:
        return None
    mean, deviation = mean_and_deviation(differences)
    count = len(differences)
    margin = None if deviation is None else t_quantile(0.975, count - 1) * deviation / math.sqrt(count)
    return Difference(mean, margin, count)


def t_quantile(probability: float, degrees: int) -> float:
    """The value below which Student's t lies with a probability above one half, by bisection.

    Args:
        probability: From 0.5 to below 1.
        degrees: Of freedom, 1 or more.

    >>> round(t_quantile(0.975, 2), 4)
    4.3027
    """
    low, high = 0.0, math.pi / 2  # of the angle whose tangent is t over the root of the degrees
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if _within(middle, degrees) < 2 * probability - 1 else (low, middle)
    return math.sqrt(degrees) * math.tan((low + high) / 2)


def _within(angle: float, degrees: int) -> float:
    """``P(|t| < sqrt(degrees) tan(angle))``: Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    cosine, term, total = math.cos(angle), 1.0, 0.0
    if degrees % 2 == 0:
        for power in range(0, degrees, 2):
            total += term
            term *= cosine**2 * (power + 1) / (power + 2)
        return math.sin(angle) * total
    term = cosine
    for power in range(1, degrees, 2):
        total += term
        term *= cosine**2 * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + math.sin(angle) * total)
