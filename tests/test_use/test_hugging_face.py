"""Students of transformers are exported as folders that transformers opens."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from crld_zoo.launch.export import export
from crld_zoo.launch.student import load_student

transformers = pytest.importorskip('transformers')


def test_a_folder_opens_with_its_classes_and_its_preprocessing(train, images, tmp_path):
    config = transformers.ResNetConfig(num_labels=3, depths=[1, 1], hidden_sizes=[8, 16], embedding_size=8)
    transformers.ResNetForImageClassification(config).save_pretrained(tmp_path / 'start')
    student = load_student(train(f"dict(model='hf::{tmp_path / 'start'}', num_classes=3)"))
    export(student, 'hf', tmp_path / 'folder')
    network = transformers.AutoModelForImageClassification.from_pretrained(tmp_path / 'folder').eval()
    assert list(network.config.id2label.values()) == student.classes
    processor = transformers.AutoImageProcessor.from_pretrained(tmp_path / 'folder')
    pixels = np.asarray(Image.open(images / 'val' / 'red' / '3.jpg').resize((16, 16)))
    inputs = torch.as_tensor(np.stack(processor(Image.fromarray(pixels))['pixel_values']))
    assert torch.allclose(inputs, student.preprocess(pixels), atol=1e-4)
    with torch.no_grad():
        expected = student(pixels)
        assert torch.allclose(network(inputs).logits.softmax(1), expected, atol=1e-4)
    assert 'pipeline(' in (tmp_path / 'folder' / 'README.md').read_text()
