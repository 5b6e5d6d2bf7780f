"""The command as a user runs it: trained, told to stop, gone on with, and the same in the end."""

from __future__ import annotations

import json
import signal
import time

import pytest

from ..processes import Tool, run, sentence

FILE = """
share = dict(cfg_options={
    'train_cfg.max_epochs': 100, 'train_cfg.val_interval': 50, 'default_hooks.checkpoint.interval': 50,
    'default_hooks.logger.interval': 1})
rows = {'CE': 'crld_zoo::quickstart/ce_r8_digits.py'}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / 'digits.py'
    path.write_text(FILE)
    return path


def results(folder):
    (result,) = json.loads((folder / 'results.json').read_text())
    return {name: value for name, value in result.items() if name.startswith(('last_', 'best_'))}


@pytest.mark.whole
def test_a_comparison_that_was_stopped_ends_as_one_that_was_not(root, file, tmp_path):
    whole, stopped = tmp_path / 'whole', tmp_path / 'stopped'
    table = run(root, 'tools/compare.py', file, '--work-dir', whole, '--table', 'markdown')
    assert '| CE | 1 |' in table

    tool = Tool(root, 'tools/compare.py', file, '--work-dir', stopped)
    output = stopped / 'CE' / 'seed_0' / 'output.log'
    until = time.monotonic() + 120
    while not (output.exists() and 'Epoch(train)' in output.read_text()) and time.monotonic() < until:
        time.sleep(0.05)
    tool.signal(signal.SIGTERM)
    assert tool.wait() == 75
    assert not (stopped / 'results.json').exists() and any(output.parent.glob('*.pth')), 'it has saved'

    run(root, 'tools/compare.py', file, '--work-dir', stopped)
    assert results(stopped) == results(whole)


def test_bad_input_gets_one_sentence(root, file, tmp_path):
    file.write_text(FILE.replace('ce_r8_digits', 'ce_r9_digits'))
    output = run(root, 'tools/compare.py', file, '--work-dir', tmp_path / 'work', code=2)
    assert "the row 'CE': there is no config" in sentence(output) and 'nearest: ' in output
    assert not (tmp_path / 'work').exists()
