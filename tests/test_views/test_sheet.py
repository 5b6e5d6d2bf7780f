"""The sheet of views: from any config's training set, with the right colors in the right places."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from crld_zoo.errors import InputError, MissingFileError, UnknownNameError
from crld_zoo.launch import load_config
from crld_zoo.registry import DATASETS
from crld_zoo.views.sheet import draw_sheet, view_sheet, write_sheet

from ..processes import Tool

DIGITS = 'configs/quickstart/dkd+crld_r20_r8_digits.py'
COLORS = [(200, 30, 60), (20, 180, 90)]
STEP = 128 + 8  # a picture and the gap to the next one


@pytest.fixture
def digits(root):
    return load_config(root / DIGITS)


@pytest.fixture
def photographs(tmp_path):
    """An ordinary pipeline: one image file of one color in each class, two crops in the worker."""
    for index, color in enumerate(COLORS):
        folder = tmp_path / f'class_{index}'
        folder.mkdir()
        Image.new('RGB', (90, 60), color).save(folder / 'photograph.png')
    pipeline = [
        dict(type='LoadImageFromFile'),
        dict(type='MultiView', num_views=2, transforms=[[dict(type='RandomResizedCrop', scale=32)]]),
        dict(type='PackInputs'),
    ]
    return Config(
        dict(
            train_dataloader=dict(dataset=dict(type='CustomDataset', data_root=str(tmp_path), pipeline=pipeline)),
            model=dict(
                data_preprocessor=dict(
                    type='ViewPreprocessor',
                    mean=[120, 110, 100],
                    std=[50, 60, 70],
                    to_rgb=True,
                    views=dict(strong=[dict(type='Cutout', max_share=1, fill=[1, 2, 3])]),
                )
            ),
        )
    )


def test_digits(digits):
    sheet = view_sheet(digits, count=3)
    assert sheet.size == (8 + 3 * STEP, 8 + 16 + 3 * (STEP + 16))  # original, weak, strong
    dataset = DATASETS.build(digits.train_dataloader.dataset)
    last = len(dataset) - 1
    for row, index in enumerate((0, last // 2, last)):
        cell = sheet.crop((8, 24 + row * (STEP + 16), 8 + 128, 24 + row * (STEP + 16) + 128))
        original = dataset[index]['inputs'].permute(1, 2, 0).numpy()
        assert np.array_equal(np.asarray(cell)[8::16, 8::16], original)


def test_seed(digits):
    first, again, other = (view_sheet(digits, count=4, seed=seed) for seed in (3, 3, 4))
    assert first == again and first != other
    originals = (0, 24, 8 + 128, first.height)
    assert first.crop(originals) == other.crop(originals)


def test_more_images_than_there_are(photographs):
    assert view_sheet(photographs, count=50).height == 24 + 2 * (STEP + 16)


def test_ordinary_pipeline(photographs):
    """Blue stays blue: mmcv loads BGR, the preprocessor turns it, and the normalization is taken back."""
    sheet = view_sheet(photographs, count=2)
    for row, color in enumerate(COLORS):
        top = 24 + row * (STEP + 16)
        assert sheet.getpixel((8 + 2, top + 2)) == color  # original
        assert sheet.getpixel((8 + STEP + 64, top + 64)) == color  # weak
        strong = sheet.crop((8 + 2 * STEP, top, 8 + 2 * STEP + 128, top + 128))
        assert {pixel for _, pixel in strong.getcolors()} == {color, (1, 2, 3)}


def test_preprocessor_of_mmpretrain(photographs):
    dataset = photographs.train_dataloader.dataset
    dataset.pipeline = [dataset.pipeline[0], dict(type='Resize', scale=(32, 32)), dataset.pipeline[2]]
    photographs.model.data_preprocessor = dict(type='ClsDataPreprocessor', mean=[1, 2, 3], std=[4, 5, 6], to_rgb=True)
    sheet = view_sheet(photographs, count=2)
    assert sheet.width == 8 + 2 * STEP  # original, training
    assert sheet.getpixel((8 + STEP + 5, 24 + 5)) == COLORS[0]


def test_draws_large_and_small_pictures():
    large, small = Image.new('RGB', (500, 300), 'red'), Image.new('RGB', (2, 2), 'blue')
    sheet = draw_sheet(dict(large=[large], small=[small]), ['caption'])
    assert sheet.size == (8 + 2 * 264, 24 + 256 + 24)
    assert sheet.getpixel((100, 100)) == (255, 0, 0) and sheet.getpixel((8 + 264 + 250, 24 + 250)) == (0, 0, 255)


def test_writes_where_it_says(digits, tmp_path):
    assert write_sheet(digits, tmp_path / 'new' / 'sheet.png', count=1) == tmp_path / 'new' / 'sheet.png'
    digits.work_dir = str(tmp_path)
    assert Image.open(write_sheet(digits, count=1)).filename == str(tmp_path / 'views.png')


def test_bad_input(digits, tmp_path):
    with pytest.raises(InputError, match='at least one image, not 0'):
        view_sheet(digits, count=0)
    with pytest.raises(InputError, match=r'does not end in \.png'):
        write_sheet(digits, tmp_path / 'sheet.jpg')
    with pytest.raises(InputError, match='has no train_dataloader'):
        view_sheet(Config(dict(model=digits.model)))
    with pytest.raises(InputError, match=r'has no model\.data_preprocessor'):
        view_sheet(Config(dict(train_dataloader=digits.train_dataloader)))
    digits.model.data_preprocessor.views.strong[0].type = 'RandomCorp'
    with pytest.raises(UnknownNameError, match="view 'strong': unknown view operation 'RandomCorp'"):
        view_sheet(digits)


def test_training_set_that_is_not_there(photographs, tmp_path):
    photographs.train_dataloader.dataset.data_root = str(tmp_path / 'elsewhere')
    with pytest.raises(MissingFileError, match='elsewhere is not there'):
        view_sheet(photographs)


def test_command(root, tmp_path):
    option = 'train_dataloader.dataset.labels_per_class=1'
    arguments = [DIGITS, '-n', 2, '--out', tmp_path / 'sheet.png', '--cfg-options', option]
    tool = Tool(root, 'tools/browse_views.py', *arguments)
    assert tool.wait() == 0, tool.output()
    assert tool.stdout.read_text().splitlines()[-1] == str(tmp_path / 'sheet.png')
    assert Image.open(tmp_path / 'sheet.png').height == 24 + 2 * (STEP + 16)
    tool = Tool(root, 'tools/browse_views.py', 'configs/nonsense.py')
    assert tool.wait() == 2
    said = tool.stderr.read_text()
    assert 'Traceback' not in said and said.startswith('error: there is no config configs/nonsense.py')
