"""Folders of images read into memory: what comes out of every kind of file, and what is refused."""

from __future__ import annotations

import logging
import shutil

import numpy as np
import pytest
import torch
from mmengine.logging import MMLogger
from PIL import Image

import crld_zoo.datasets.image_files as image_files
from crld_zoo.datasets import ImageFolder
from crld_zoo.datasets.memory import available_memory
from crld_zoo.errors import InputError, MissingFileError


@pytest.fixture
def tree(tmp_path):
    """Three classes of four lossless 6x8 pictures."""
    rng = np.random.default_rng(0)
    for name in ('cat', 'dog', 'emu'):
        (tmp_path / 'tree' / name).mkdir(parents=True)
        for number in range(4):
            save(tmp_path / 'tree' / name / f'{number}.png', rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    return tmp_path / 'tree'


def save(path, array, mode=None):
    Image.fromarray(array, mode).save(path)
    return path


def truncate(path):
    path.write_bytes(path.read_bytes()[:-60])


def test_tree(tree):
    (tree / 'cat' / 'notes.txt').write_text('no image')
    (tree / '.hidden').mkdir()
    (tree / 'dog' / 'more').mkdir()
    shutil.move(tree / 'dog' / '3.png', tree / 'dog' / 'more' / '3.PNG')
    dataset = ImageFolder(tree, 4)
    assert (
        dataset.metainfo == dict(classes=('cat', 'dog', 'emu'))
        and dataset.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    )
    assert dataset.images.shape == (12, 3, 4, 4)


def test_pixels(tree):
    picture = np.asarray(Image.open(tree / 'cat' / '0.png'))
    square = save(tree / 'cat' / '0.png', picture[:, 1:7])
    assert np.array_equal(ImageFolder(tree, 6).images[0], np.asarray(Image.open(square)).transpose(2, 0, 1)), (
        'an image of the right size stays as it is'
    )
    save(tree / 'cat' / '0.png', picture)
    assert np.array_equal(ImageFolder(tree, 6).images[0], picture[:, 1:7].transpose(2, 0, 1)), 'the center is kept'
    squashed = Image.fromarray(picture).resize((6, 6), Image.Resampling.BILINEAR)
    assert np.array_equal(ImageFolder(tree, 6, resize='squash').images[0], np.asarray(squashed).transpose(2, 0, 1))


def test_crop_is_shorter_side_then_center(tree):
    gradient = np.zeros((40, 80, 3), np.uint8) + np.arange(80, dtype=np.uint8)[None, :, None] * 3
    save(tree / 'cat' / '0.png', gradient)
    image = ImageFolder(tree, 20).images[0].float()
    expected = torch.from_numpy(gradient[:, 20:60, 0].reshape(20, 2, 20, 2).mean((1, 3))).float()
    # bilinear with antialiasing is a wider window than the 2x2 mean: equal on a gradient, but for the border's columns
    assert (image[0] - expected)[:, 1:-1].abs().max() <= 1


def test_every_mode_becomes_rgb(tree):
    color = np.zeros((6, 6, 3), np.uint8) + np.array([200, 30, 90], np.uint8)
    alpha = np.concatenate([color, np.full((6, 6, 1), 10, np.uint8)], axis=2)
    save(tree / 'cat' / '0.png', color[..., 0])  # grey
    save(tree / 'cat' / '1.png', alpha)  # RGBA
    Image.fromarray(color).quantize(2).save(tree / 'cat' / '2.png', transparency=b'\x00\xff')  # palette with alpha
    save(tree / 'cat' / '3.png', alpha[..., [0, 3]], 'LA')  # grey with alpha
    save(tree / 'dog' / '0.png', color[..., 0] > 100)  # one bit
    images = ImageFolder(tree, 6).images
    assert (images[0] == 200).all() and (images[3] == 200).all() and (images[4] == 255).all()
    assert torch.equal(images[1], torch.from_numpy(color).permute(2, 0, 1))
    assert torch.equal(images[2], torch.from_numpy(color).permute(2, 0, 1))


def test_orientation_tag_is_obeyed(tree):
    picture = Image.fromarray(np.arange(108, dtype=np.uint8).reshape(6, 6, 3))
    exif = Image.Exif()
    exif[0x0112] = 6  # lay the camera on its side
    picture.save(tree / 'cat' / '0.png', exif=exif)
    turned = np.asarray(picture.transpose(Image.Transpose.ROTATE_270)).transpose(2, 0, 1)
    assert np.array_equal(ImageFolder(tree, 6).images[0], turned)


def test_order_of_the_files_does_not_matter_to_subsets(tree, tmp_path):
    subset = ImageFolder(tree, 4, labels_per_class=2, subset_seed=3)
    assert subset.labels.tolist() == [0, 0, 1, 1, 2, 2]
    whole = ImageFolder(tree, 4).images
    assert all(any(torch.equal(image, other) for other in whole) for image in subset.images)
    copy = shutil.copytree(tree, tmp_path / 'elsewhere')
    assert torch.equal(ImageFolder(copy, 4, labels_per_class=2, subset_seed=3).images, subset.images)
    assert not torch.equal(ImageFolder(tree, 4, labels_per_class=2, subset_seed=4).images, subset.images)


def test_a_subset_decodes_its_own_images_only(tree):
    whole, subset = ImageFolder(tree, 4), ImageFolder(tree, 4, labels_per_class=1)
    for path, image in zip(sorted(tree.glob('*/*.png')), whole.images, strict=True):
        if not any(torch.equal(image, chosen) for chosen in subset.images):
            truncate(path)
    assert torch.equal(ImageFolder(tree, 4, labels_per_class=1).images, subset.images)
    with pytest.raises(InputError, match='cannot be read'):
        ImageFolder(tree, 4)


def test_broken_image_is_named(tree):
    truncate(tree / 'dog' / '2.png')
    with pytest.raises(InputError, match=r"dog/2\.png cannot be read \(.*\): .*broken='skip'"):
        ImageFolder(tree, 4)


def test_broken_images_are_skipped_on_demand(tree):
    truncate(tree / 'dog' / '2.png')
    (tree / 'emu' / '0.png').write_bytes(b'')
    save(tree / 'emu' / '1.png', np.zeros((6, 6), np.uint16))
    rest = ImageFolder(tree, 4, broken='skip')
    kept = [index for index in range(12) if index not in (6, 8, 9)]
    assert rest.labels.tolist() == [0] * 4 + [1] * 3 + [2] * 2
    for name in ('dog/2', 'emu/0', 'emu/1'):
        save(tree / f'{name}.png', np.zeros((6, 6, 3), np.uint8))
    assert torch.equal(ImageFolder(tree, 4).images[kept], rest.images)


def test_skipped_images_are_counted_and_named(tree):
    truncate(tree / 'dog' / '2.png')
    lines = []
    logger = MMLogger.get_current_instance()
    handler = logging.Handler()
    handler.emit = lambda record: lines.append((record.levelname, record.getMessage()))
    logger.addHandler(handler)
    try:
        ImageFolder(tree, 4, broken='skip')
    finally:
        logger.removeHandler(handler)
    ((level, line),) = [line for line in lines if line[0] != 'INFO']
    assert level == 'WARNING' and 'skipped 1 of 12 images' in line and str(tree / 'dog' / '2.png') in line


def test_too_many_bits_are_no_silent_white(tree):
    save(tree / 'cat' / '1.png', np.full((6, 6), 3000, np.uint16))
    with pytest.raises(InputError, match=r"cat/1\.png .*mode 'I;16' has more than 8 bits"):
        ImageFolder(tree, 4)


def test_a_subset_is_never_left_incomplete(tree):
    for path in (tree / 'dog').iterdir():
        truncate(path)
    with pytest.raises(InputError, match=r'dog/\d\.png cannot be read'):
        ImageFolder(tree, 4, labels_per_class=1, broken='skip')
    with pytest.raises(InputError, match="class 'dog' has no image that can be read"):
        ImageFolder(tree, 4, broken='skip')


def test_empty_class(tree):
    for path in (tree / 'dog').iterdir():
        path.unlink()
    with pytest.raises(InputError, match=f"class 'dog' has no image in {tree}"):
        ImageFolder(tree, 4)


def test_missing_and_empty_folders(tree, tmp_path):
    with pytest.raises(MissingFileError, match='the folder .*nowhere is not there: set data_root'):
        ImageFolder(tmp_path / 'nowhere', 4)
    with pytest.raises(InputError, match='holds no class folder'):
        ImageFolder(tree / 'cat', 4)


def test_classes_fix_the_labels(tree):
    dataset = ImageFolder(tree, 4, classes=['emu', 'cat', 'dog'])
    plain = ImageFolder(tree, 4)
    assert dataset.metainfo['classes'] == ('emu', 'cat', 'dog')
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        place = next(index for index, other in enumerate(plain.images) if torch.equal(image, other))
        assert dataset.metainfo['classes'][label] == plain.metainfo['classes'][plain.labels[place]]
    with pytest.raises(InputError, match="'emu' .* not named in classes"):
        ImageFolder(tree, 4, classes=['cat', 'dog'])
    with pytest.raises(InputError, match="'fox' .* named in classes, but not there"):
        ImageFolder(tree, 4, classes=['cat', 'dog', 'emu', 'fox'])


@pytest.mark.parametrize(
    'options, message',
    [
        (dict(size=0), 'size must be at least 1 pixel, not 0'),
        (dict(size=4, resize='pad'), "'crop' or 'squash', not 'pad'"),
        (dict(size=4, broken='ignore'), "'raise' or 'skip', not 'ignore'"),
    ],
)
def test_impossible_options(tree, options, message):
    with pytest.raises(InputError, match=message):
        ImageFolder(tree, **options)


def test_more_than_the_memory_holds(tree, monkeypatch):
    monkeypatch.setattr(image_files, 'decode_images', lambda *_, **__: pytest.fail('nothing may be decoded before'))
    monkeypatch.setattr(image_files, 'available_memory', lambda: 2**30)
    with pytest.raises(
        InputError,
        match=r'^12 images of 12000x12000 need 4\.8 GiB, but 1\.0 GiB of memory are '
        'available: .*ImageNet or CustomDataset and a pipeline',
    ):
        ImageFolder(tree, 12000)
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '8')
    with pytest.raises(InputError, match='need 4.5 GiB for 8 processes on this machine'):
        ImageFolder(tree, 4096)


def test_available_memory(tmp_path):
    assert available_memory(tmp_path) is None
    (tmp_path / 'proc').mkdir()
    (tmp_path / 'proc/meminfo').write_text('MemTotal:  900 kB\nMemFree:  100 kB\nMemAvailable:  500 kB\n')
    assert available_memory(tmp_path) == 500 * 1024
    limit = tmp_path / 'sys/fs/cgroup/memory.max'
    limit.parent.mkdir(parents=True)
    limit.write_text('max\n')
    assert available_memory(tmp_path) == 500 * 1024
    limit.write_text('4096\n')
    assert available_memory(tmp_path) == 4096


def test_long_work_shows_a_progress_bar(tree, monkeypatch, capsys):
    ImageFolder(tree, 4)
    assert 'decoding images' not in capsys.readouterr().out
    monkeypatch.setattr(image_files, '_LONG_WORK', 10)
    ImageFolder(tree, 4)
    assert 'decoding images' in capsys.readouterr().out
