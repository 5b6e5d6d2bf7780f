"""Ours against the reference protocol, in two processes."""

from __future__ import annotations

import pytest

from crld_zoo.engine.benchmark import Comparison, Options, Setting, compare, grid
from crld_zoo.errors import InputError, MissingFileError


def test_the_grid_uses_the_cores_there_are():
    small, large = grid(1), grid(8)
    assert small['ours'] == [Setting(1, 0)]
    assert set(small['reference']) == {Setting(1, 0), Setting(1, 1)}
    assert set(large['ours']) == {Setting(1, 0), Setting(4, 0), Setting(8, 0)}
    assert {setting.workers for setting in large['reference']} == {0, 1, 4, 8}


def test_the_ratio_is_taken_pair_by_pair():
    comparison = Comparison(tried={}, chosen={}, ours=[10., 40., 30.], reference=[5., 10., 30.], peak_memory={})
    assert comparison.ratio == (2., 1., 4.)
    assert comparison.to_dict()['ratio']['median'] == 2.


@pytest.mark.slow
def test_both_sides_are_measured(recipe):
    settings = dict(ours=[Setting(1, 0)], reference=[Setting(1, 0), Setting(1, 1)])
    result = compare(Options(recipe, random_weights=True), repeats=2, seconds=0.2, settings=settings)
    assert len(result.ours) == len(result.reference) == 2
    assert min(*result.ours, *result.reference) > 0
    assert set(result.tried['reference']) == {'1 threads, 0 workers', '1 threads, 1 workers'}
    assert result.chosen['ours'] == '1 threads, 0 workers'
    assert all(held > 50 * 2 ** 20 for held in result.peak_memory.values())


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_told(recipe):
    settings = dict(ours=[Setting(1, 0)], reference=[Setting(1, 0)])
    with pytest.raises(MissingFileError, match='take --random-weights'):
        compare(Options(recipe), 1, 0.1, settings)
    with pytest.raises(InputError, match='this recipe trains on other views'):
        compare(Options(recipe, random_weights=True, overrides={'model.data_preprocessor.views.strong': []}), 1, 0.1,
                settings)
