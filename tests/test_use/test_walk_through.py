"""docs/use.md and docs/few_labels.md: what is on the pages runs, from JPEGs to an ONNX file that classifies."""

from __future__ import annotations

import re
import runpy
import shlex
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from crld_zoo.launch import profile
from crld_zoo.networks.sources import build_network

QUICK = [
    'default_hooks.teacher_accuracy=None',  # an epoch makes no teacher, and one that guesses is refused
    'train_cfg.max_epochs=1',
    'train_dataloader.batch_size=8',
    'train_dataloader.dataset.size=40',
    'val_dataloader.dataset.size=32',
    'test_dataloader.dataset.size=32',
    *(f'model.data_preprocessor.views.{view}.0.size=32' for view in ('weak', 'strong')),
]


def blocks(page: str) -> list[tuple[str, str]]:
    """Kind and text of each block of code."""
    return re.findall(r'^```(console|python)\n(.*?)^```', page, re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(root, images, tmp_path, monkeypatch) -> Path:
    """A folder with the tools, the configs, the images and the weights that the page speaks of."""
    for name in ('tools', 'configs'):
        (tmp_path / name).symlink_to(root / name)
    (tmp_path / 'data').mkdir()
    (tmp_path / 'data' / 'my_images').symlink_to(images)
    shutil.copy(images / 'val' / 'red' / '3.jpg', tmp_path / 'picture.jpg')
    for depth in (18, 34):
        network = build_network(f'crld_zoo::resnet{depth}_imagenet', num_classes=1000)
        torch.save(dict(state_dict=network.state_dict(), meta={}), tmp_path / f'resnet{depth}.pth')
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('IMAGES', raising=False)
    monkeypatch.setattr(profile, 'BATCHES', (1, 2))
    return tmp_path


def run(command: str, monkeypatch) -> None:
    python, tool, *arguments = shlex.split(command)
    assert python == 'python'
    if tool == 'tools/train.py':
        depth = 34 if 'ce_r34' in arguments[0] else 18
        options = [*QUICK, f'model.student.backbone.init_cfg.checkpoint=resnet{depth}.pth']
        if depth == 18 and '--cfg-options' not in arguments:
            options.append('model.teacher.checkpoint=work_dirs/ce_r34_folder/epoch_1.pth')
        arguments += options if '--cfg-options' in arguments else ['--cfg-options', *options]
    if tool == 'tools/profile_runs.py':
        arguments += ['--seconds', '0.02']
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    runpy.run_path(tool, run_name='__main__')


@pytest.mark.whole
def test_the_page_leads_from_jpegs_to_an_onnx_file_in_use(root, place, monkeypatch, capsys):
    for package in ('onnxruntime', 'onnxscript', 'timm', 'matplotlib'):
        pytest.importorskip(package)
    import timm

    torch.save(timm.create_model('resnet18', num_classes=3).state_dict(), 'my_teacher.pth')
    if find_spec('transformers') is not None:
        import transformers

        config = transformers.ResNetConfig(num_labels=3, depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8)
        transformers.ResNetForImageClassification(config).save_pretrained('my_hf_teacher')
    told = []
    for kind, text in blocks((root / 'docs' / 'use.md').read_text()):
        if kind == 'python':
            capsys.readouterr()
            exec(compile(text, 'docs/use.md', 'exec'), {})
            told.append(capsys.readouterr().out.strip())
            continue
        for command in text.splitlines():
            if 'my_hf_teacher' not in command or find_spec('transformers') is not None:
                run(command, monkeypatch)
    student, onnx = told
    assert student == onnx
    assert student in ('blue', 'green', 'red')
    for file in ('views.png', 'answers.csv', 'plain.onnx', 'plain.int8.onnx', 'accuracy_over_latency.png'):
        assert (place / file).is_file()
    assert 'work_dirs' in {path.name for path in place.iterdir()}


@pytest.mark.whole
def test_the_page_of_few_labels_leads_to_a_student(root, place, images, monkeypatch, capfd):
    data = place / 'data' / 'own'
    shutil.copytree(images, data)
    (data / 'unlabeled' / 'nested').mkdir(parents=True)
    for number, path in enumerate(sorted((images / 'val').rglob('*.jpg'))):
        shutil.copy(path, data / 'unlabeled' / ('nested' if number % 2 else '.') / f'{number}.jpg')
    monkeypatch.setenv('IMAGES', str(data))
    for command in blocks((root / 'docs' / 'few_labels.md').read_text())[0][1].splitlines():
        run(command, monkeypatch)
    (log,) = (place / 'work_dirs' / 'kd+crld_r34_r18_few_labels').glob('*/*.log')
    text = log.read_text()
    assert '36 images of 3 classes, 36 unlabeled images' in text
    assert (place / 'work_dirs' / 'kd+crld_r34_r18_few_labels' / 'student.pth').is_file()
