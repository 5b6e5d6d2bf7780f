"""Exports and predictions on real CIFAR-100 images."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from crld_zoo.launch import run_test
from crld_zoo.launch.export import TARGETS, export, main
from crld_zoo.launch.predict import find_pictures, predict
from crld_zoo.launch.student import load_student
from crld_zoo.networks.sources import build_network

pytestmark = pytest.mark.data

CONFIG = """
model = dict(
    type='Distillation', student={student}, distiller=dict(type='CrossEntropy'),
    data_preprocessor=dict(
        type='ViewPreprocessor', mean=[129.3, 124.1, 112.4], std=[68.2, 65.4, 70.4]))
test_dataloader = dict(
    batch_size=100, num_workers=0, collate_fn=dict(type='as_batch'),
    dataset={dataset}, sampler=dict(type='DefaultSampler', shuffle=False))
val_dataloader = test_dataloader
val_evaluator = [dict(type='Accuracy', topk=(1,))]
val_cfg = dict()
test_evaluator = [dict(type='Accuracy', topk=(1,))]
test_cfg = dict()
default_scope = 'crld_zoo'
"""
STUDENTS = {
    'resnet8': dict(model='crld_zoo::resnet8', num_classes=100),
    'timm mobilenet': dict(model='timm::mobilenetv3_small_050', num_classes=100),
    'mmpretrain resnet18': dict(model='crld_zoo::resnet18_imagenet', num_classes=100),
    'vit': dict(
        model=dict(
            type='ImageClassifier',
            backbone=dict(
                type='VisionTransformer',
                arch=dict(embed_dims=64, num_layers=4, num_heads=4, feedforward_channels=128),
                img_size=32,
                patch_size=8,
            ),
            head=dict(type='VisionTransformerClsHead', num_classes=100, in_channels=64),
        )
    ),
}


def as_run(folder: Path, student: dict, dataset: dict, weights: dict | None = None) -> Path:
    """A run's folder without a training: random weights, unless there are others."""
    (folder / 'run.py').write_text(CONFIG.format(student=student, dataset=dataset))
    if weights is None:
        weights = build_network(**student).state_dict()
    torch.save(dict(state_dict=weights, meta={}), folder / 'epoch_1.pth')
    return folder


@pytest.mark.slow
@pytest.mark.parametrize('name', STUDENTS)
def test_exports_answer_as_the_student_on_200_real_images(cifar, tmp_path, name):
    pytest.importorskip('onnxruntime')
    pytest.importorskip('timm')
    student = load_student(
        as_run(
            tmp_path,
            STUDENTS[name],
            dict(type='InMemoryCIFAR100', data_root='unused', data_file=str(cifar), split='test'),
        )
    )
    for to, target in TARGETS.items():
        if not target.deploys:
            continue
        for preprocessing in (False, True):
            checked = export(student, to, preprocessing=preprocessing, force=True)
            assert checked.images == 200
            assert checked.difference <= 1e-4
            assert checked.agreement == 100


def test_a_folder_of_real_images_is_predicted_as_the_test_says(shared, packs, tmp_path, capsys):
    data = packs.load_mosaic(str(shared / 'data' / 'cifar100_test1000.zip'))
    for number, (image, label) in enumerate(zip(data['x_test'], data['y_test'], strict=True)):
        path = tmp_path / 'images' / f'{label:03}' / f'{number}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    weights = torch.load(shared / 'data' / 'checkpoints' / 'cifar100_resnet20.pth', weights_only=True)
    dataset = dict(
        type='ImageFolder', data_root=str(tmp_path / 'images'), classes=[f'{label:03}' for label in range(100)], size=32
    )
    run = as_run(tmp_path, dict(model='crld_zoo::resnet20', num_classes=100), dataset, weights)
    accuracy = run_test(run / 'run.py', run / 'epoch_1.pth', work_dir=tmp_path / 'test')['accuracy/top1']
    answers = list(predict(load_student(run), find_pictures([tmp_path / 'images'])))
    hits = [Path(answer.file).parent.name == answer.classes[0] for answer in answers]
    assert accuracy == pytest.approx(69.9, abs=0.3), 'these weights are known'
    assert 100 * np.mean(hits) == pytest.approx(accuracy, abs=1e-4)
    pytest.importorskip('onnxruntime')
    main([str(run), '--to', 'onnx', '--preprocessing', '--int8'])
    said = capsys.readouterr().out
    assert 'same class on 100.0 % of 200' in said
    quantized, full = map(float, re.search(r'top-1 ([\d.]+) %, in full precision ([\d.]+) %', said).groups())
    assert full > 55
    assert quantized > full - 10
