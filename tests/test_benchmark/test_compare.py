"""Ours against the reference protocol, in two processes."""

from __future__ import annotations

import pytest

from crld_zoo.benchmark import Comparison, Options, Setting, compare, grid
from crld_zoo.errors import InputError, MissingFileError


def test_the_grid_uses_the_cores_there_are():
    small, large = grid(1), grid(8)
    assert small['fp32'] == small['bf16'] == [Setting(1, 0)]
    assert set(small['reference']) == {Setting(1, 0), Setting(1, 1)}
    assert set(large['fp32']) == {Setting(1, 0), Setting(4, 0), Setting(8, 0)}
    assert {setting.workers for setting in large['reference']} == {0, 1, 4, 8}


def test_the_number_of_threads_may_be_given():
    tried = grid(16, threads=5)
    assert tried['fp32'] == [Setting(5, 0)]
    assert {setting.threads for setting in tried['reference']} == {5}
    assert len({setting.workers for setting in tried['reference']}) > 1
    assert grid(16, processor_time=True)['reference'] == [Setting(1, 0)]


def test_the_ratio_is_taken_repeat_by_repeat():
    speeds = dict(reference=[5.0, 10.0, 30.0], fp32=[10.0, 40.0, 30.0], bf16=[50.0, 100.0, 300.0])
    comparison = Comparison(tried={}, chosen={}, speeds=speeds, peak_memory={}, joules={})
    assert comparison.ratio('fp32') == (2.0, 1.0, 4.0)
    assert comparison.to_dict()['ratio'] == dict(
        fp32=dict(median=2.0, low=1.0, high=4.0), bf16=dict(median=10.0, low=10.0, high=10.0)
    )


@pytest.mark.slow
def test_every_side_is_measured(recipe, forked_sides):
    settings = dict(reference=[Setting(1, 0), Setting(1, 1)], fp32=[Setting(1, 0)], bf16=[Setting(1, 0)])
    result = compare(Options(recipe, random_weights=True), repeats=2, seconds=0.2, settings=settings)
    for name in settings:
        assert len(result.speeds[name]) == 2 and min(result.speeds[name]) > 0, name
        assert result.peak_memory[name] > 50 * 2**20, name
        assert set(result.tried[name]) == set(settings[name])
    assert result.chosen['fp32'] == Setting(1, 0)


@pytest.mark.slow
def test_what_goes_wrong_in_a_process_is_told(recipe, forked_sides):
    with pytest.raises(MissingFileError, match='take --random-weights'):
        compare(Options(recipe), 1, 0.1, dict(fp32=[Setting(1, 0)]))
    with pytest.raises(InputError, match='this recipe trains on other views'):
        compare(
            Options(recipe, random_weights=True, overrides={'model.data_preprocessor.views.strong': []}),
            1,
            0.1,
            dict(reference=[Setting(1, 0)]),
        )
