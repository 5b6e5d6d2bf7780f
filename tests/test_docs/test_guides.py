"""The guides of docs/guides run as they stand: their files, in a folder of somebody who has installed the package.

The three guides of methods are followed by ``tests/test_distillers/test_four_files.py``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ..processes import run
from .pages import ROOT, blocks

OF_METHODS = {'logit_method', 'feature_method', 'decorator'}
QUICK = ['train_cfg.max_epochs=1', 'train_cfg.val_interval=1', 'default_hooks.logger.interval=1']


def follow(guide: str, folder: Path, *options: str) -> tuple[str, dict]:
    """Write the files of a guide, train with its config; the output and the checkpoint."""
    files = {block.file: block.text for block in blocks(f'docs/guides/{guide}.md') if block.file}
    for name, text in files.items():
        (folder / name).write_text(text, encoding='utf-8')
    assert 'my_config.py' in files
    arguments = [ROOT / 'tools' / 'train.py', 'my_config.py', '--cfg-options', *QUICK, *options]
    output = run(folder, *arguments, environment=dict(PYTHONPATH=str(folder)))
    return output, torch.load(folder / 'work_dirs' / 'my_config' / 'epoch_1.pth', weights_only=True)


@pytest.mark.slow
def test_view_operation(tmp_path):
    output, _ = follow('view_operation', tmp_path, 'model.teacher.checkpoint=random')
    assert 'loss_cv' in output


@pytest.mark.slow
def test_data_set(tmp_path):
    _, checkpoint = follow('data_set', tmp_path)
    assert list(checkpoint['meta']['dataset_meta']['classes']) == ['across', 'down']


@pytest.mark.slow
def test_network_source(tmp_path):
    _, checkpoint = follow('network_source', tmp_path)
    assert set(checkpoint['state_dict']) == {
        *(f'backbone.layers.0.0.{name}' for name in ('weight', 'bias')),
        *(f'head.fc.{name}' for name in ('weight', 'bias')),
    }


@pytest.mark.slow
def test_hook_and_metric(tmp_path):
    output, _ = follow('hook_and_metric', tmp_path)
    assert 'margin/mean: ' in output
    assert 'step 0: a loss of ' in output


def test_own_loop():
    """Projections, tables and views: what the loop has learned is where the page says."""
    (block,) = blocks('docs/guides/own_loop.md', 'python')
    space = {}
    exec(compile(block.text, 'own_loop.md', 'exec'), space)
    assert {'loss_ce', 'loss_wv', 'loss_cv'} <= set(space['losses'])
    assert space['step'] == 6
    kept = space['distiller'].state_dict()
    assert kept
    assert list(space['distiller'].parameters()), 'a projection was built and is trained'


def test_every_guide_is_followed_by_a_test():
    tested = {name.removeprefix('test_') for name in globals()} | OF_METHODS
    assert {path.stem for path in (ROOT / 'docs' / 'guides').glob('*.md')} <= tested
