"""A trained student in use: loaded, predicting, calibrated, and what bad input gets."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image

from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.evaluation.temperature import fit_temperature
from crld_zoo.launch import run_test
from crld_zoo.launch.predict import SKIPPED, main
from crld_zoo.launch.student import load_student

from .conftest import CLASSES


def answers(capsys, *arguments) -> list[dict]:
    capsys.readouterr()
    main([*map(str, arguments), '--format', 'json'])
    return json.loads(capsys.readouterr().out)


def test_a_run_knows_its_classes_and_its_preprocessing(run, images):
    student = load_student(run)
    assert student.classes == list(CLASSES)
    assert student.size == (16, 16)
    path = images / 'val' / 'red' / '3.jpg'
    pixels = np.asarray(Image.open(path))
    inputs = [student.preprocess(picture) for picture in (path, str(path), Image.open(path), pixels, pixels[None])]
    assert inputs[0].shape == (1, 3, 16, 16)
    assert all(torch.equal(each, inputs[0]) for each in inputs)
    seen = torch.tensor(student.read(path)).float()
    expected = (seen - torch.tensor([120.0, 110.0, 100.0])) / torch.tensor([60.0, 61.0, 62.0])
    assert torch.allclose(inputs[0][0].permute(1, 2, 0), expected, atol=1e-6)
    assert torch.allclose(student(path), student.network(inputs[0], mode='tensor').softmax(1))


def test_a_pipeline_is_followed_with_its_order_of_channels(run, images, tmp_path):
    config = tmp_path / 'with_pipeline.py'
    config.write_text(
        (run / 'tiny.py').read_text()
        + """
model['data_preprocessor'] = dict(type='ViewPreprocessor', mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True)
test_dataloader = dict(batch_size=4, dataset=dict(type='CustomDataset', pipeline=[
    dict(type='LoadImageFromFile'), dict(type='ResizeEdge', scale=20, edge='short', backend='pillow'),
    dict(type='CenterCrop', crop_size=16), dict(type='PackInputs')]))
"""
    )
    student = load_student(config, run / 'epoch_1.pth')
    path = images / 'val' / 'red' / '3.jpg'
    assert student.size == (16, 16)
    assert not student.bgr
    first, second = student.preprocess(path), student.preprocess(np.asarray(Image.open(path)))
    assert torch.equal(first, second)
    pixels = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    expected = (torch.from_numpy(pixels[2:18, 2:18]).float() - torch.tensor([1.0, 2, 3])) / torch.tensor([4.0, 5, 6])
    assert torch.allclose(student.preprocess(pixels)[0].permute(1, 2, 0), expected), 'mean and std by channel'


@pytest.mark.parametrize('wanted, file', [(None, 'best_x.pth'), ('best', 'best_x.pth'), ('last', 'epoch_1.pth')])
def test_the_best_checkpoint_is_taken_if_there_is_one(run, wanted, file):
    (run / 'best_x.pth').write_bytes((run / 'epoch_1.pth').read_bytes())
    assert load_student(run, wanted).checkpoint.name == file


def test_published_weights_go_first(trained):
    assert load_student(trained).checkpoint.name == 'student.pth'


def test_the_inference_config_is_enough(trained):
    student = load_student(trained / 'student.py', trained / 'student.pth')
    regular = load_student(trained / 'tiny.py', trained / 'epoch_1.pth')
    assert student.classes == regular.classes == list(CLASSES) and student.size == regular.size
    images = torch.randint(0, 256, (4, 16, 16, 3), dtype=torch.uint8)
    assert torch.allclose(student.logits(images), regular.logits(images), atol=1e-5)


def test_a_folder_is_predicted_as_the_test_says(run, images, capsys):
    accuracy = run_test(run / 'tiny.py', run / 'epoch_1.pth', work_dir=run / 'test')['accuracy/top1']
    told = answers(capsys, run, images / 'val')
    hits = [answer['file'].split('/')[-2] == answer['predictions'][0]['class'] for answer in told]
    assert len(hits) == 36
    assert 100 * sum(hits) / len(hits) == pytest.approx(accuracy, abs=1e-4)


def test_answers_come_as_table_csv_and_json(run, images, capsys, tmp_path):
    path = images / 'val' / 'red' / '3.jpg'
    (told,) = answers(capsys, run, path, '--topk', 3)
    probabilities = [each['probability'] for each in told['predictions']]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1)
    assert {each['class'] for each in told['predictions']} == set(CLASSES)
    main([str(run), str(path), '--topk', '2', '--format', 'csv', '--out', str(tmp_path / 'told.csv')])
    with open(tmp_path / 'told.csv') as file:
        rows = list(csv.DictReader(file))
    assert [row['class'] for row in rows] == [each['class'] for each in told['predictions'][:2]]
    main([str(run), str(path)])
    assert told['predictions'][0]['class'] in capsys.readouterr().out


def test_broken_pictures_are_named_and_skipped(run, images, capsys, tmp_path):
    (tmp_path / 'mixed').mkdir()
    (tmp_path / 'mixed' / 'a.jpg').write_text('no picture')
    (tmp_path / 'mixed' / 'b.jpg').write_bytes((images / 'val' / 'red' / '3.jpg').read_bytes())
    with pytest.raises(SystemExit) as leave:
        main([str(run), str(tmp_path / 'mixed'), '--format', 'json'])
    assert leave.value.code == SKIPPED
    told = capsys.readouterr()
    assert 'a.jpg' in told.err
    assert '1 of 2 pictures' in told.err
    assert [answer['file'].split('/')[-1] for answer in json.loads(told.out)] == ['b.jpg']


def test_a_fitted_temperature_stays_beside_its_checkpoint(run, images, capsys, log):
    path = images / 'val' / 'red' / '3.jpg'
    before = load_student(run)(path)
    main([str(run), '--calibrate'])
    student = load_student(run)
    assert student.temperature != 1
    logits = before.log()
    assert torch.allclose(student(path), (logits / student.temperature).softmax(1), atol=1e-6)
    content = torch.load(run / 'epoch_1.pth', weights_only=True)
    content['state_dict']['head.fc.bias'] += 1
    torch.save(content, run / 'epoch_1.pth')
    assert load_student(run).temperature == 1
    assert 'other weights' in log.text


def test_a_temperature_that_is_no_fit_is_told(run, log, monkeypatch):
    student, labels = load_student(run), torch.tensor([0, 1, 1])
    monkeypatch.setattr(student, 'outputs', lambda: (torch.eye(2)[labels], labels))
    student.calibrate()
    assert 'the 3 images of the validation set are all classified right' in log.text


def test_the_folder_of_the_answers_is_made_before_them(run, images, tmp_path):
    out = tmp_path / 'new' / 'folder' / 'answers.csv'
    main([str(run), str(images / 'val' / 'red' / '3.jpg'), '--format', 'csv', '--out', str(out)])
    assert out.read_text().startswith('file,rank')


def test_the_temperature_is_found_that_the_labels_were_drawn_with():
    torch.manual_seed(0)
    logits = 3 * torch.randn(20000, 5)
    target = torch.multinomial((logits / 2.5).softmax(1), 1)[:, 0]
    assert fit_temperature(logits, target) == pytest.approx(2.5, rel=0.05)
    assert fit_temperature(logits, logits.argmax(1)) == pytest.approx(0.01)


@pytest.mark.parametrize(
    'break_it, message',
    [
        (lambda run: (run / 'epoch_1.pth').unlink(), 'no finished checkpoint'),
        (lambda run: (run / 'tiny.py').unlink(), 'holds no config'),
        (lambda run: (run / 'epoch_1.pth').write_bytes((run / 'epoch_1.pth').read_bytes()[:-900]), 'damaged'),
        (
            lambda run: (run / 'tiny.py').write_text(
                (run / 'tiny.py').read_text() + "\ntest_dataloader['dataset']['classes'] = ['blue', 'red', 'green']\n"
            ),
            "name other classes .*1: 'red' or 'green'",
        ),
        (
            lambda run: (run / 'tiny.py').write_text((run / 'tiny.py').read_text().replace('resnet8', 'resnet14')),
            'resnet8',
        ),
    ],
)
def test_a_run_that_cannot_be_used_says_why(run, break_it, message):
    break_it(run)
    with pytest.raises(InputError, match=message):
        load_student(run)


def test_bad_input_ends_in_a_sentence(run, images, tmp_path):
    with pytest.raises(MissingFileError, match='no run'):
        load_student(tmp_path / 'none')
    with pytest.raises(MissingFileError, match='no checkpoint'):
        load_student(run, 'none.pth')
    with pytest.raises(InputError, match='name the checkpoint'):
        load_student(run / 'tiny.py')
    with pytest.raises(MissingFileError, match='no picture'):
        main([str(run), str(tmp_path / 'none.jpg')])
    (tmp_path / 'empty').mkdir()
    with pytest.raises(InputError, match='holds no image'):
        main([str(run), str(tmp_path / 'empty')])
    with pytest.raises(InputError, match='top 4 of 3'):
        main([str(run), str(images), '--topk', '4'])
    with pytest.raises(InputError, match='float64'):
        load_student(run)(np.zeros((4, 4, 3)))
