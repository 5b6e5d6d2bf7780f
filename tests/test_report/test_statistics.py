"""Means, deviations and paired differences against scipy and against values worked out by hand."""

from __future__ import annotations

import math

import pytest

from crld_zoo.report import mean_and_deviation, paired_difference, t_quantile


@pytest.mark.parametrize(
    ('degrees', 'printed'), [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (29, 2.045)]
)
def test_quantiles_are_those_of_the_printed_tables(degrees, printed):
    assert t_quantile(0.975, degrees) == pytest.approx(printed, abs=5e-4)


@pytest.mark.parametrize('degrees', [1, 2, 5, 8, 51, 100])
def test_quantiles_are_scipys(degrees):
    stats = pytest.importorskip('scipy.stats')
    for probability in (0.6, 0.95, 0.975, 0.995):
        assert t_quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-9)


def test_difference_is_a_paired_t_interval():
    difference = paired_difference({0: 3.0, 1: 5.0, 2: 10.0}, {2: 7.0, 0: 2.0, 1: 3.0})
    # differences 1, 2, 3: mean 2, deviation 1, margin 4.3027 / sqrt(3)
    assert difference.mean == pytest.approx(2.0)
    assert difference.margin == pytest.approx(4.30265 / math.sqrt(3), rel=1e-5)
    assert difference.seeds == 3


def test_only_equal_seeds_are_paired():
    assert paired_difference({0: 3.0, 5: 100.0}, {0: 1.0, 1: -50.0}) == (2.0, None, 1)
    assert paired_difference({5: 100.0}, {0: 1.0}) is None


def test_one_value_has_no_deviation():
    assert mean_and_deviation([4.0]) == (4.0, None)
