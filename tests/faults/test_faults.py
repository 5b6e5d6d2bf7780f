"""The short version of the fault tests; ``python tests/faults/run.py`` is the long one, with figures."""

from __future__ import annotations

import json

import harness
import pytest
import scenarios

pytestmark = pytest.mark.whole


@pytest.fixture(scope='module')
def undisturbed(tmp_path_factory):
    """The run that no fault meets."""
    return scenarios.undisturbed_run(tmp_path_factory.mktemp('undisturbed') / 'run')


@pytest.fixture(scope='module')
def images(undisturbed, tmp_path_factory):
    """Images as files."""
    return scenarios.write_images(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='module')
def undisturbed_files(images, tmp_path_factory):
    """The run that reads them and that no fault meets."""
    return scenarios.undisturbed_run(tmp_path_factory.mktemp('undisturbed') / 'files', **scenarios.from_files(images))


def test_the_comparison_notices_another_seed(undisturbed, tmp_path):
    other = scenarios.undisturbed_run(tmp_path / 'other', options=['--seed', '1'])
    assert scenarios.same_result(undisturbed, undisturbed)
    assert not scenarios.same_result(undisturbed, other)


def test_kill_9_at_random_moments(undisturbed, tmp_path):
    figures = scenarios.kills(tmp_path, undisturbed, 4)
    assert figures.as_promised(), figures


def test_told_to_stop_at_random_moments(undisturbed, tmp_path):
    figures = scenarios.preemptions(tmp_path, undisturbed, 2)
    assert figures.as_promised() and figures.lost == 0, figures


def test_damaged_checkpoints(undisturbed, tmp_path):
    figures = scenarios.damaged_files(tmp_path, undisturbed, 3)
    assert figures.as_promised(), figures


def test_a_full_disk(undisturbed, tmp_path):
    figures = scenarios.full_disks(tmp_path, undisturbed, 1)
    assert figures.as_promised(), figures


def test_a_limit_on_the_size_of_files(undisturbed, tmp_path, monkeypatch):
    """Where nothing can be mounted; tested everywhere."""

    def not_allowed(*_):
        raise PermissionError

    monkeypatch.setattr(scenarios, 'small_disk', not_allowed)
    figures = scenarios.full_disks(tmp_path, undisturbed, 1)
    assert figures.as_promised(), figures


def test_a_killed_loader_worker(undisturbed_files, images, tmp_path):
    figures = scenarios.killed_workers(tmp_path, images, undisturbed_files, 1)
    assert figures.as_promised(), figures


def test_a_vanished_file(undisturbed_files, images, tmp_path):
    figures = scenarios.vanished_files(tmp_path, images, undisturbed_files, 1)
    assert figures.as_promised(), figures


@pytest.fixture(scope='module')
def two(undisturbed, tmp_path_factory):
    """The undisturbed run of two processes."""
    return scenarios.two_processes(tmp_path_factory.mktemp('two') / 'run')


def test_two_processes_measure_as_one(two, tmp_path):
    run = harness.Run(harness.CONFIG, two / harness.LAST, '--work-dir', tmp_path, command='test')
    assert run.wait() == 0, run.output()
    (alone,) = tmp_path.glob('*/*.json')
    together = [json.loads(line) for path in two.glob('*/vis_data/scalars.json') for line in path.open()]
    validated = next(record for record in reversed(together) if 'accuracy/top1' in record)
    measured = json.loads(alone.read_text())
    assert validated['step'] == 3
    for name in ('accuracy/top1', 'accuracy/top5', 'calibration/ece'):
        assert measured[name] == pytest.approx(validated[name], abs=1e-4)  # sums over other batches round otherwise


def test_one_process_of_two_killed(two, tmp_path):
    figures = scenarios.killed_ranks(tmp_path, two, 1)
    assert figures.as_promised() and figures.slowest_end < 30, figures


def test_two_processes_told_to_stop(two, tmp_path):
    figures = scenarios.preempted_ranks(tmp_path, two, 1)
    assert figures.as_promised() and figures.lost == 0, figures
