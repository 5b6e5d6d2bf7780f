"""What the commands do in two processes, as tools/dist_train.sh starts them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crld_zoo.networks.sources import build_network

STUDENT, TWO_CROPS = 'configs/quickstart/dkd+crld_r20_r8_digits.py', 'configs/crld/dkd+crld_r34_r18_imagenet.py'
VIEWS, IMAGES = 2, 10


SMALL = """
_base_ = [{base!r}]
custom_imports = dict(imports=['recorder'])
custom_hooks = [dict(type='Recorder')]
model = dict(
    student=dict(_delete_=True, model='crld_zoo::resnet8', num_classes=2),
    teacher=dict(_delete_=True, model='crld_zoo::resnet8', num_classes=2, checkpoint='random'))
dataset = dict(data_root={images!r}, metainfo=dict(classes=['cat', 'dog']))
train_dataloader = dict(batch_size=3, num_workers=1, dataset=dataset)
val_dataloader = dict(batch_size=5, num_workers=1, dataset=dataset)
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='Accuracy')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
"""

RECORDER = """
import hashlib
import json
from pathlib import Path

from mmengine.dist import get_rank
from mmengine.hooks import Hook

from crld_zoo.registry import HOOKS


@HOOKS.register_module()
class Recorder(Hook):
    def before_train(self, runner):
        self.rows = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        for number, view in enumerate(data_batch['inputs']):
            for image, sample in zip(view, data_batch['data_samples'], strict=True):
                digest = hashlib.sha256(image.numpy().tobytes()).hexdigest()
                self.rows.append([number, Path(sample.img_path).name, digest, list(image.shape)])

    def after_train(self, runner):
        Path(runner.work_dir, f'seen_{get_rank()}.json').write_text(json.dumps(self.rows))
"""


def train_in_two(root: Path, config: str | Path, work_dir: Path, *options: str, path: Path | None = None) -> str:
    """Train by the command that users have for several GPUs; its output."""
    environment = {
        **os.environ,
        'CUDA_VISIBLE_DEVICES': '',
        'OMP_NUM_THREADS': '1',
        'PYTHON': sys.executable,
        'PYTHONPATH': str(path or ''),
    }
    done = subprocess.run(
        ['tools/dist_train.sh', str(config), '2', '--work-dir', str(work_dir), *options],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=240,
        env=environment,
    )
    output = done.stdout + done.stderr
    assert done.returncode == 0, output[-3000:]
    return output


@pytest.fixture
def recipe(root, tmp_path) -> Path:
    """The recipe of two crops an image, for ten JPEGs and small networks; a hook keeps what the loader gives."""
    generator = np.random.default_rng(0)
    for split in ('train', 'val'):
        for number in range(IMAGES):
            path = tmp_path / 'images' / split / ('cat', 'dog')[number % 2] / f'{number}.JPEG'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (72, 90, 3), dtype=np.uint8)).save(path)
    (tmp_path / 'recorder.py').write_text(RECORDER)
    config = tmp_path / 'small.py'
    config.write_text(SMALL.format(base=str(root / TWO_CROPS), images=str(tmp_path / 'images')))
    return config


@pytest.mark.whole
def test_two_processes_share_the_images_and_cut_every_view(root, recipe, tmp_path):
    train_in_two(root, recipe, tmp_path / 'run', path=tmp_path)
    seen = [json.loads((tmp_path / 'run' / f'seen_{rank}.json').read_text()) for rank in range(2)]
    assert [len(rows) for rows in seen] == [VIEWS * IMAGES // 2] * 2
    rows = [row for rows in seen for row in rows]
    assert Counter((view, name) for view, name, *_ in rows) == Counter(
        (view, f'{number}.JPEG') for view in range(VIEWS) for number in range(IMAGES)
    )
    assert {tuple(shape) for *_, shape in rows} == {(3, 224, 224)}
    assert len({digest for _, _, digest, _ in rows}) == VIEWS * IMAGES, 'a view is not its own crop'
    state = torch.load(tmp_path / 'run' / 'epoch_1.pth', weights_only=True)['state_dict']
    build_network('crld_zoo::resnet8', num_classes=2).load_state_dict(state, strict=True)
