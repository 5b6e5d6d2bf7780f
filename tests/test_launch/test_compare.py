"""A comparison trains what is missing, survives what fails and stops in order."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from crld_zoo.engine.preemption import stopping_in_order
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.evaluation.functional import measure
from crld_zoo.launch import compare_jobs, run_train
from crld_zoo.launch.compare import compare, main, plan
from crld_zoo.launch.compare_file import check_teacher, read_comparison, read_json, write_record
from crld_zoo.launch.compare_jobs import ClusterJobs, LocalProcesses
from crld_zoo.launch.compare_run import images_per_second, run_one
from crld_zoo.launch.student import load_student

CE, KD = 'crld_zoo::quickstart/ce_r8_digits.py', 'crld_zoo::quickstart/kd_r20_r8_digits.py'


@pytest.fixture
def fake(monkeypatch):
    """Runs do what their row's name says, see ``fake_run.py``."""
    script = Path(__file__).with_name('fake_run.py')
    monkeypatch.setattr(compare_jobs, 'command_of', lambda folder: [sys.executable, str(script), str(folder)])
    monkeypatch.delenv('OMP_NUM_THREADS', raising=False)


@pytest.fixture
def rows(tmp_path):
    """A comparison of rows that are all the same but for their names."""

    def make(*names, seeds=(0,), epochs=2):
        path = tmp_path / 'mine.py'
        shared = dict(cfg_options={'train_cfg.max_epochs': epochs, 'model.teacher.checkpoint': 'random'})
        path.write_text(f'seeds = {list(seeds)}\nshare = {shared}\nrows = {dict.fromkeys(names, KD)}\n')
        return path

    return make


def read(path):
    return read_comparison(path, path.with_name('work'))


def test_what_is_missing_is_trained_and_what_is_done_is_left_alone(fake, rows):
    first = compare(read(rows('a', seeds=(0, 1))), LocalProcesses(2), poll=0.05)
    assert [(result['row'], result['seed'], result['last_top1']) for result in first.results] == [
        ('a', 0, 50.0),
        ('a', 1, 51.0),
    ]
    more = read(rows('b', 'a', seeds=(0, 1)))
    second = compare(more, LocalProcesses(2), poll=0.05)
    assert [result['row'] for result in second.results] == ['b', 'b', 'a', 'a']
    assert second.results[2:] == first.results
    assert read_json(more.work_dir / 'results.json') == second.results
    assert not second.failed and not second.stopped


def test_at_most_so_many_run_at_once_and_share_the_cores(fake, rows, monkeypatch):
    monkeypatch.setattr(os, 'sched_getaffinity', lambda process: set(range(6)), raising=False)
    results = compare(read(rows('a', seeds=(0, 1, 2, 3))), LocalProcesses(2), poll=0.05).results
    assert {result['threads'] for result in results} == {'3'}
    at_once = [sum(a['started'] <= b['started'] < a['ended'] for a in results) for b in results]
    assert max(at_once) <= 2


def test_threads_that_are_set_are_kept(fake, rows, monkeypatch):
    monkeypatch.setenv('OMP_NUM_THREADS', '1')
    (result,) = compare(read(rows('a')), LocalProcesses(1), poll=0.05).results
    assert result['threads'] == '1'


def test_a_failed_run_is_named_and_does_not_stop_the_others(fake, rows, capsys):
    path = rows('bad', 'killed', 'good')
    with pytest.raises(InputError, match=r'2 of 3 runs failed: .*bad, seed 0 \(the teacher is not there.*SIGKILL'):
        main([str(path), '--work-dir', str(path.with_name('work')), '--table', 'json'])
    out, err = capsys.readouterr()
    assert [result['row'] for result in json.loads(out)] == ['good']
    assert 'bad, seed 0: failed: the teacher is not there.' in err


def test_a_signal_stops_the_runs_in_order_and_the_same_command_goes_on(fake, rows):
    comparison = read(rows('slow', 'slow too'))
    folders = [run.folder for run in comparison.runs]

    def tell():
        while not all((folder / 'ready').exists() for folder in folders):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    teller = threading.Thread(target=tell)
    teller.start()
    with pytest.raises(SystemExit) as leave, stopping_in_order():
        compare(comparison, LocalProcesses(2), poll=0.05)
    teller.join()
    assert leave.value.code == 75
    assert all((folder / 'saved').exists() for folder in folders), 'each has saved before the command ends'
    assert len(compare(comparison, LocalProcesses(2), poll=0.05).results) == 2


def test_the_keyboard_stops_the_runs_in_order_too(fake, rows):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background job ignores
    comparison = read(rows('slow'))
    folder = comparison.runs[0].folder

    def tell():
        while not (folder / 'ready').exists():
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    teller = threading.Thread(target=tell)
    teller.start()
    with pytest.raises(KeyboardInterrupt), stopping_in_order():
        compare(comparison, LocalProcesses(1), poll=0.05)
    signal.signal(signal.SIGINT, before)
    teller.join()
    assert (folder / 'saved').exists()


def test_a_run_that_was_told_to_stop_by_others_wants_to_go_on(fake, rows):
    path = rows('slow', 'good')
    ready = path.with_name('work') / 'slow' / 'seed_0' / 'ready'
    started = []
    process = compare_jobs._Process

    class Recorded(process):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            started.append(self)

    def tell():
        while not ready.exists():
            time.sleep(0.02)
        started[0].stop()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare_jobs, '_Process', Recorded)
        teller = threading.Thread(target=tell)
        teller.start()
        with pytest.raises(SystemExit) as leave:
            main([str(path), '--work-dir', str(path.with_name('work'))])
        teller.join()
    assert leave.value.code == 75


def test_nothing_is_trained_where_a_run_is_of_another_config(fake, rows):
    compare(read(rows('a')), LocalProcesses(1), poll=0.05)
    changed = read(rows('b', 'a', epochs=3))
    with pytest.raises(InputError, match='train_cfg.max_epochs was 2 and is 3'):
        compare(changed, LocalProcesses(1), poll=0.05)
    assert not changed.runs[0].folder.exists()


def test_a_teacher_that_is_not_there_is_missed_before_anything_is_trained(fake, tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text(
        f"share = dict(cfg_options={{'model.teacher.checkpoint': 'no.pth'}})\nrows = dict(CE='{CE}', KD='{KD}')"
    )
    comparison = read(path)
    with pytest.raises(MissingFileError, match="the row 'CE': no checkpoint 'no.pth'"):
        compare(comparison, LocalProcesses(1), poll=0.05)
    assert not comparison.work_dir.exists()
    both = dict(comparison.runs[1].teacher, checkpoint='random')
    ensemble = dict(type='TeacherEnsemble', teachers=[both, dict(both, checkpoint='none.pth')])
    with pytest.raises(MissingFileError, match='none.pth'):
        check_teacher(dataclasses.replace(comparison.runs[1], teacher=ensemble))


def test_a_dry_run_trains_nothing(fake, rows, capsys):
    path = rows('a', 'b')
    compare(read_comparison(path, path.with_name('work'), rows=['a']), LocalProcesses(1), poll=0.05)
    capsys.readouterr()
    main([str(path), '--work-dir', str(path.with_name('work')), '--dry-run', '--table', 'csv'])
    out, err = capsys.readouterr()
    assert [line.split(',')[0] for line in out.splitlines()] == ['row', 'a']
    assert err.splitlines()[0].startswith('done      a, seed 0') and err.splitlines()[1].startswith('to train  b')
    assert not (path.with_name('work') / 'b').exists()
    assert plan(read(path))[0].startswith('done')


@pytest.mark.slow
def test_jobs_of_a_cluster(fake, rows):
    pytest.importorskip('submitit')
    comparison = read(rows('good', 'bad'))
    places = ClusterJobs('local', 2, comparison.work_dir / '.cluster', {})
    outcome = compare(comparison, places, poll=0.1)
    assert [result['row'] for result in outcome.results] == ['good']
    assert list(outcome.failed.values()) == ['the teacher is not there.']


@pytest.mark.slow
def test_jobs_of_a_cluster_are_stopped_in_order(fake, rows):
    pytest.importorskip('submitit')
    comparison = read(rows('slow'))
    folder = comparison.runs[0].folder

    def tell():
        while not (folder / 'ready').exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    teller = threading.Thread(target=tell)
    teller.start()
    with pytest.raises(SystemExit) as leave, stopping_in_order():
        compare(comparison, ClusterJobs('local', 1, comparison.work_dir / '.cluster', {}), poll=0.1)
    teller.join()
    assert leave.value.code == 75 and (folder / 'saved').exists()


def test_a_cluster_needs_submitit_and_known_options(tmp_path, monkeypatch):
    pytest.importorskip('submitit')
    with pytest.raises(InputError, match='--cluster local: .*no_such'):
        ClusterJobs('local', 1, tmp_path, dict(no_such=1))
    monkeypatch.setitem(sys.modules, 'submitit', None)
    with pytest.raises(InputError, match=r"needs submitit: pip install 'crld-zoo\[cluster\]'"):
        ClusterJobs('slurm', 1, tmp_path, {})


def test_jobs_must_be_a_number_above_zero(rows):
    with pytest.raises(InputError, match='--jobs must be 1 or more'):
        main([str(rows('a')), '--jobs', '0'])


@pytest.fixture(scope='module')
def digits(tmp_path_factory):
    """One epoch of a row without a teacher and of one with a teacher, really trained and measured."""
    folder = tmp_path_factory.mktemp('digits')
    small = {'train_cfg.max_epochs': 1, 'train_cfg.val_interval': 1, 'default_hooks.checkpoint.interval': 1}
    student = {'model.student.model': 'crld_zoo::resnet8', 'default_hooks.logger.interval': 1}
    run_train('crld_zoo::quickstart/ce_r20_digits.py', folder / 'teacher', cfg_options={**small, **student})
    teacher = {'model.teacher.model': 'crld_zoo::resnet8', 'model.teacher.checkpoint': f'{folder}/teacher/epoch_1.pth'}
    path = folder / 'digits.py'
    path.write_text(
        f"share = dict(cfg_options={ {**small, **student, **teacher} })\nrows = dict(CE='{CE}', KD='{KD}')\n"
    )
    comparison = read_comparison(path, folder / 'work')
    for run in comparison.runs:
        write_record(run)
        run_one(run.folder)
    return comparison, folder


def scalars(folder: Path) -> list[dict]:
    (path,) = folder.glob('*/vis_data/scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_results_are_what_the_student_measures(digits):
    comparison, folder = digits
    teacher = load_student(folder / 'teacher', 'last').outputs(split='test')[0]
    for run in comparison.runs:
        result = read_json(run.folder / 'results.json')
        student = load_student(run.folder, 'last')
        logits, labels = student.outputs(split='test')
        for name, value in measure(logits, teacher, labels).items():
            assert result[f'last_{name}'] == pytest.approx(value, abs=1e-4), name
        assert result['best_top1'] == result['last_top1'], 'there is one epoch'
        assert (result['epochs'], result['best_epoch'], result['best_on_test']) == (1, 1, True)
        assert result['parameters'] == sum(p.numel() for p in student.network.parameters())
        assert result['flops'] > 1e6 and result['seconds'] > 0
        assert result['images_per_second'] == images_per_second(run.folder) > 0
        entries = [line['loss'] for line in scalars(run.folder) if 'loss' in line]
        assert (result['loss_first'], result['loss_last']) == (entries[0], entries[-1]) and len(entries) > 1
    assert len(list((comparison.work_dir / '.teachers').iterdir())) == 1, 'one pass of the teacher for both rows'


def test_a_run_without_a_finished_epoch_is_said_to_be_one(digits, tmp_path):
    comparison, _ = digits
    with pytest.raises(InputError, match='has no finished last checkpoint'):
        load_student(_copy_without_checkpoints(comparison.runs[0].folder, tmp_path / 'run'), 'last')


def _copy_without_checkpoints(folder: Path, to: Path) -> Path:
    to.mkdir()
    (to / 'config.py').write_text((folder / 'config.py').read_text())
    return to
