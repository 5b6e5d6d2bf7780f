"""The curves of a run are what its log says, however often it was stopped."""

from __future__ import annotations

import json

import numpy as np
import pytest

from crld_zoo.errors import InputError
from crld_zoo.report.history import band, environment, read_history


def write(run, start: str, rows, tail: str = '') -> None:
    path = run / start / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text(''.join(json.dumps(row) + '\n' for row in rows) + tail)


def step(number: int, epoch: int, loss: float, **more) -> dict:
    return dict(lr=0.1, time=1.0, loss=loss, **more, epoch=epoch, iter=number, step=number)


def validated(epoch: int, top1: float) -> dict:
    return {'accuracy/top1': top1, 'time': 0.1, 'step': epoch}


def test_an_epoch_is_the_mean_of_its_entries(tmp_path):
    rows = [step(1, 1, 4.0, keep_weak=0.5), step(2, 1, 2.0, keep_weak=1.0), validated(1, 10.0), step(3, 2, 1.0)]
    write(tmp_path, '1', rows)
    history = read_history(tmp_path)
    assert set(history.train) == {'loss', 'keep_weak'}
    assert [part.tolist() for part in history.train['loss']] == [[1, 2], [3, 1]]
    assert [part.tolist() for part in history.train['keep_weak']] == [[1], [0.75]]
    assert [part.tolist() for part in history.test['accuracy/top1']] == [[1], [10]]


def test_iterations_count_where_the_run_counts_them(tmp_path):
    write(tmp_path, '1', [step(10, 1, 4.0), step(20, 1, 2.0), validated(20, 5.0)])
    history = read_history(tmp_path, 'iteration')
    assert [part.tolist() for part in history.train['loss']] == [[10, 20], [4, 2]]


def test_what_a_resume_repeats_counts_once(tmp_path):
    write(tmp_path, '1', [step(1, 1, 9.0), validated(1, 1.0), step(2, 2, 8.0), validated(2, 2.0), step(3, 3, 7.0)])
    write(tmp_path, '2', [step(2, 2, 5.0), validated(2, 3.0), step(3, 3, 4.0)])
    history = read_history(tmp_path)
    assert history.train['loss'][1].tolist() == [9, 5, 4]
    assert history.test['accuracy/top1'][1].tolist() == [1, 3]


def test_a_torn_last_line_is_left_out_and_another_is_named(tmp_path):
    write(tmp_path, '1', [step(1, 1, 9.0)], tail='{"lr": 0.1, "lo')
    assert read_history(tmp_path).train['loss'][1].tolist() == [9]
    write(tmp_path, '2', [], tail='{"lr"\n' + json.dumps(step(2, 2, 1.0)) + '\n')
    with pytest.raises(InputError, match=r'line 1 of .*2/vis_data/scalars\.json is damaged'):
        read_history(tmp_path)


def test_a_band_is_mean_and_deviation_of_the_seeds_that_have_a_step():
    draw = np.random.default_rng(0)
    values = draw.normal(size=(3, 5))
    steps = np.arange(5.0)
    own = band([(steps, row) for row in values])
    np.testing.assert_allclose(own.mean, values.mean(0))
    np.testing.assert_allclose(own.deviation, values.std(0, ddof=1))
    cut = band([(steps, values[0]), (steps[:2], values[1, :2])])
    np.testing.assert_allclose(cut.mean[2:], values[0, 2:])
    assert (cut.deviation[2:] == 0).all() and (cut.deviation[:2] > 0).all()


def test_a_real_run_has_its_terms_its_tests_and_its_environment(runs):
    history = read_history(runs / 'DKD+CRLD' / 'seed_0')
    assert {'loss', 'loss_ce', 'loss_wv', 'loss_cv', 'keep_weak', 'keep_strong', 'top1'} == set(history.train)
    total = sum(history.train[name][1] for name in ('loss_ce', 'loss_wv', 'loss_cv'))
    np.testing.assert_allclose(history.train['loss'][1], total, rtol=1e-5)
    assert history.test['accuracy/top1'][0].tolist() == [1, 2]
    text = environment(runs / 'DKD+CRLD' / 'seed_0')
    assert 'PyTorch' in text and 'seed: 0' in text and 'optim_wrapper' not in text
