"""One command for all that a GPU can show: what goes wrong is listed, and its own mistakes show without a GPU."""

from __future__ import annotations

import argparse
import json
import sys
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from crld_zoo.benchmark import gpu, in_way, requirements
from crld_zoo.benchmark.command import parse_args as parse_benchmark
from crld_zoo.benchmark.gpu import Step, main, page, read_tests, run_step, steps_for
from crld_zoo.benchmark.setup import Options, measured_config
from crld_zoo.errors import InputError
from crld_zoo.launch.config import load_config, prepare
from crld_zoo.launch.options import ConfigOptions
from crld_zoo.registry import DISTILLERS, HOOKS

from ..processes import run


def python(code: str, **options) -> Step:
    return Step('step', [sys.executable, '-c', code], 60, **options)


def test_a_step_that_ends(tmp_path):
    file = tmp_path / 'figures.json'
    step = python(f"open({str(file)!r}, 'w').write('[3]'); print('said')", figures=lambda: json.loads(file.read_text()))
    result = run_step(step, tmp_path / 'log', 60)
    assert result['state'] == 'done' and result['figures'] == [3] and 'reason' not in result
    assert (tmp_path / 'log').read_text() == 'said\n'


def test_a_step_that_fails_says_why(tmp_path):
    result = run_step(python("import sys; sys.exit('error: no such thing')"), tmp_path / 'log', 60)
    assert result['state'] == 'failed' and result['reason'] == 'error: no such thing'


def test_a_step_without_its_figures_has_failed(tmp_path):
    result = run_step(python('', figures=(tmp_path / 'none').read_text), tmp_path / 'log', 60)
    assert result['state'] == 'failed' and 'FileNotFoundError' in result['reason']


def test_a_step_that_takes_too_long_is_ended_with_its_children(tmp_path):
    file = tmp_path / 'child'
    code = (
        'import subprocess, sys, time\n'
        f"child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(300)'])\n"
        f"open({str(file)!r}, 'w').write(str(child.pid))\n"
        'time.sleep(300)'
    )
    start = time.monotonic()
    result = run_step(python(code), tmp_path / 'log', 10)
    assert result['state'] == 'out of time' and time.monotonic() - start < 60
    child = int(file.read_text())
    state = ''
    stat = Path(f'/proc/{child}/stat')
    if stat.exists():
        state = stat.read_text().rpartition(')')[2].split()[0]
    assert state in ('', 'Z'), 'it is gone, or only waits to be buried'


def test_what_cannot_be_done_is_left_out(tmp_path):
    result = run_step(python('1/0', lacks='no data'), tmp_path / 'log', 60)
    assert result == dict(state='left out', reason='no data')
    assert run_step(python('1/0'), tmp_path / 'log', 0.5)['state'] == 'left out'


def arguments(**changes) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(gpu.parse_args([])), **changes})


@pytest.mark.parametrize('gpus', [0, 1])
def test_every_command_is_understood(tmp_path, gpus, monkeypatch):
    """Each is read by the tool that it names, and its config is made; so a mistake does not wait for a GPU."""
    monkeypatch.setattr(gpu, '_speed', lambda work_dir: 20_000.0)
    steps = {step.name: step for step in steps_for(arguments(), tmp_path, gpus)}
    assert 'tests' in steps and 'training' in steps and ('training_long' in steps) == bool(gpus)
    for name, step in steps.items():
        tool, *options = step.command[1:]
        if tool == 'tools/benchmark.py':
            args = parse_benchmark(options)
            for way in args.ways or ['fp32']:
                given = Options(gpu.ROOT / args.configs[0], overrides=args.cfg_options, synthetic=args.synthetic)
                cfg = measured_config(in_way(given, way), tmp_path)
                assert cfg.train_dataloader.dataset.type == 'SyntheticImages'
                assert cfg.model.get('graph', False) == ('graph' in way)
                views = DISTILLERS.build(cfg.model.distiller).views
                assert set(views) <= set(cfg.model.data_preprocessor.views), 'no pipeline makes any'
        elif tool == 'tools/train.py':
            at = options.index('--cfg-options')
            parser = argparse.ArgumentParser()
            parser.add_argument('--cfg-options', nargs='+', action=ConfigOptions)
            cfg = load_config(gpu.ROOT / options[0], tmp_path, parser.parse_args(options[at:]).cfg_options)
            prepare(cfg)
            HOOKS.build(cfg.default_hooks.checkpoint)  # hooks check their options themselves
            if name == 'training_long':  # 180 s, of which 0.7 train, at 20,000 images a second
                assert cfg.train_cfg.max_epochs == 50 and cfg.param_scheduler.milestones == [31, 38, 44]
        else:
            assert name == 'tests'


def test_the_steps_fit_the_budget_but_for_the_slowest(tmp_path):
    steps = steps_for(arguments(), tmp_path, gpus=1, left=100)
    assert gpu.BUDGET <= 9 * 60
    assert {step.name: step.limit for step in steps}['training_long'] == 100


def test_a_dry_run_does_nothing(tmp_path, capsys):
    main(['--dry-run', '--out', str(tmp_path / 'out'), '--data', str(tmp_path / 'nowhere')])
    said = capsys.readouterr().out
    assert 'CIFAR-100 (--data) not at' in said and 'step_imagenet (at most' in said
    assert not (tmp_path / 'out').exists()


def test_an_unknown_step():
    with pytest.raises(InputError, match='there is no step sleep: there are tests,'):
        main(['--only', 'sleep'])


def test_results_are_kept_step_by_step(tmp_path, monkeypatch, capsys):
    steps = [python('', lacks='no data'), Step('second', [sys.executable, '-c', '1/0'], 60)]
    monkeypatch.setattr(gpu, 'steps_for', lambda *_: steps)
    main(['--out', str(tmp_path)])
    main(['--out', str(tmp_path), '--only', 'second'])
    record = json.loads((tmp_path / 'results.json').read_text())
    assert {name: result['state'] for name, result in record['steps'].items()} == dict(step='left out', second='failed')
    assert 'ZeroDivisionError' in record['steps']['second']['reason']
    assert '| second | failed |' in (tmp_path / 'README.md').read_text()
    assert 'second: failed' in capsys.readouterr().out


def test_the_tests_are_counted(tmp_path):
    (tmp_path / 'report.xml').write_text(
        '<testsuites><testsuite><testcase classname="a" name="one"/><testcase classname="a" name="two"><skipped/>'
        '</testcase><testcase classname="a" name="three"><failure/></testcase></testsuite></testsuites>'
    )
    assert read_tests(tmp_path / 'report.xml') == dict(passed=1, skipped=1, failed=['a::three'])


def test_the_page_has_every_figure(tmp_path, monkeypatch):
    (tmp_path / 'on_cpu.json').write_text('{"top1": 29.0, "epochs": 2, "fraction": 0.2, "images_per_second": 131}')
    monkeypatch.setattr(gpu, 'ON_CPU', tmp_path / 'on_cpu.json')
    spread = dict(median=120.0, low=100.0, high=150.0)
    row = dict(
        config='configs/crld/a.py',
        batch_size=64,
        compare=dict(
            images_per_second={'reference': dict(spread, median=40.0), 'bf16': spread, 'bf16+graph': spread},
            ratio={'bf16': dict(median=3.0, low=2.0, high=4.0), 'bf16+graph': dict(median=9.0, low=8.0, high=9.5)},
            peak_memory={'reference': 2**20, 'bf16': 2**21, 'bf16+graph': 2**22},
            joules={'reference': 3.0, 'bf16': 0.6, 'bf16+graph': None},
        ),
        step=dict(bf16=dict(times_the_floor=1.25)),
    )
    alone = dict(row, compare=None, step=dict(bf16=dict(times_the_floor=1.5, images_per_second=spread, peak_memory=3)))
    text = page(
        dict(
            machine=dict(gpu='A GPU', cpu='a CPU', cores=16, torch='2'),
            gpus=1,
            missing=['a second GPU'],
            steps=dict(
                tests=dict(state='failed', reason='a|b', figures=dict(passed=3, skipped=1, failed=['test::x'])),
                step_a=dict(state='done', seconds=3.1, figures=dict(rows=[row, alone])),
                training=dict(state='done', figures=dict(top1=30.0, epochs=2, fraction=0.2, images_per_second=5e3)),
            ),
        )
    )
    small = dict(top1=2.0, epochs=2, fraction=0.01, images_per_second=24.6)
    other = page(
        dict(
            machine=dict(gpu=None, cpu='a CPU', cores=2, torch='2'),
            gpus=0,
            missing=[],
            steps=dict(training=dict(state='done', figures=small)),
        )
    )
    assert '| training | 2 | 1% | 2.00 | 24.6 |' in other.splitlines()
    assert 'on a CPU |' not in other, 'it was another training'
    for line in (
        '- a second GPU',
        '| tests | failed |  | a\\|b |',
        '3 passed, 1 skipped, 1 failed',
        '- test::x',
        '| a | 64 | reference | 40.0 | 1 |  | 1 | 83.3 | 10.00 |',
        '| a | 64 | bf16 | 120 | 3.00 (2.00 to 4.00) | 1.25 | 2 | 27.8 | 2.00 |',
        '| a | 64 | bf16+graph | 120 | 9.00 (8.00 to 9.50) |  | 4 | 27.8 |  |',
        '| a | 64 | bf16 | 120 |  | 1.50 | 0 |  |  |',
        '| the same as `training`, on a CPU | 2 | 20% | 29.00 | 131 |',
        '| training | 2 | 20% | 30.00 | 5,000 |',
    ):
        assert line in text.splitlines(), line


def test_the_cpu_has_done_the_same_training():
    record = json.loads(gpu.ON_CPU.read_text())
    assert {name: record[name] for name in gpu.SHORT} == gpu.SHORT
    assert 1 < record['top1'] < 100


def test_ways():
    options = in_way(Options('recipe.py'), 'tf32+graph+compile')
    assert not options.amp and options.tf32
    assert options.overrides == {'model.graph': True, 'model.compile': True, 'model.teacher.compile': True}
    assert in_way(Options('recipe.py'), 'fp32').tf32 is False and in_way(Options('recipe.py'), 'bf16').amp
    for way in ('fp8', 'fp32+fast'):
        with pytest.raises(InputError, match=f"there is no way '{way.replace('+', '.')}'"):
            in_way(Options('recipe.py'), way)


def test_missing_packages_are_named_with_who_needs_them(tmp_path, monkeypatch):
    setup = tmp_path / 'setup.py'
    setup.write_text("REQUIRES = [\n    'alpha>=1,<2',\n    'mmcv-lite>=2',  # a note\n    'torch',\n]\nEXTRAS = {}\n")
    needs = dict(
        alpha=['Beta_x (>1)', 'gone; extra == "dev"', "old; python_version < '3'", 'delta'],
        torch=['cuda-of-the-system'],
        delta=None,
    )

    def requires(name):
        if name not in needs:
            raise PackageNotFoundError
        return needs[name]

    monkeypatch.setattr(requirements, 'requires', requires)
    assert requirements.missing(setup) == {'beta-x': 'alpha'}, 'mmcv is there under another name'
    assert requirements.missing(setup, ('pytest',)) == {'beta-x': 'alpha', 'pytest': 'the tests'}


def test_nothing_is_missing_here(root):
    assert requirements.missing(root / 'setup.py') == {}


@pytest.mark.whole
def test_the_command_without_a_gpu(root, recipe, tmp_path):
    """Tests, a comparison and a training that has no data, as with a GPU; the figures are in the folder."""
    out = tmp_path / 'out'
    said = run(root, 'tools/gpu.py', '--out', out, '--recipe', recipe, '--data', tmp_path / 'none', seconds=600)
    record = json.loads((out / 'results.json').read_text())
    states = {name: result['state'] for name, result in record['steps'].items()}
    assert states == dict(tests='done', step_recipe='done', training='left out'), said
    assert record['steps']['tests']['figures']['failed'] == []
    (row,) = record['steps']['step_recipe']['figures']['rows']
    assert set(row['compare']['speeds']) == {'reference', 'fp32', 'bf16'}
    text = (out / 'README.md').read_text()
    assert 'nothing here is of one' in text and '| recipe | 4 | bf16 |' in text
