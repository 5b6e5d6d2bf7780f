"""Which files of a folder are images of which class, and what is said of the others."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import DefaultScope
from PIL import Image

from crld_zoo.datasets import ImageFolder
from crld_zoo.datasets.scan import image_extensions
from crld_zoo.errors import InputError, MissingFileError
from crld_zoo.registry import DATASETS


def picture(path: Path | bytes, value: int = 0) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file, 'PNG')


@pytest.fixture
def tree(tmp_path):
    """Two classes of two images; the pixels tell the class."""
    root = tmp_path / 'train'
    for value, name in enumerate(('a', 'b')):
        for number in range(2):
            picture(root / name / f'{number}.png', value)
    return root


def lazily(root, **options):
    """The same folder through mmpretrain's dataset, which decodes in its pipeline."""
    with DefaultScope.overwrite_default_scope('crld_zoo'):
        return DATASETS.build(dict(type='CustomDataset', data_root=str(root), pipeline=[], **options))


def labels_of(root) -> list[int]:
    dataset = ImageFolder(root, 4)
    assert [int(image[0, 0, 0]) for image in dataset.images] == dataset.labels.tolist(), 'each image has its own label'
    assert lazily(root).get_gt_labels().tolist() == dataset.labels.tolist()
    return dataset.labels.tolist()


@pytest.mark.parametrize(
    'path, reason',
    [
        ('a/.ipynb_checkpoints/x.png', '1 hidden'),
        ('a/.y.png', '1 hidden'),
        ('a/._x.png', '1 hidden'),
        ('a/deep/.cache/deeper/x.png', '1 hidden'),
        ('.git/x.png', None),
        ('__MACOSX/a/._0.png', None),
        ('a/__MACOSX/x.png', '1 in __MACOSX'),
        ('a/@eaDir/0.png/SYNOFILE_THUMB_M.png', '1 in @eaDir'),
        ('lost+found/x.png', None),
        ('a/notes.txt', r'1 no image \(.txt\)'),
        ('a/film.mpg', r'1 no image \(.mpg\)'),
        ('a/README', r'1 no image \(no ending\)'),
        ('loose.png', '1 outside of the class folders'),
    ],
)
def test_what_is_no_image_of_a_class_is_passed_over_and_counted(tree, log, path, reason):
    picture(tree / path, 7)
    assert labels_of(tree) == [0, 0, 1, 1]
    assert f'ImageFolder {tree}: 4 images of 2 classes' in log.text
    if reason:
        assert log.messages and any(re.search(f'passed over: .*{reason}', line) for line in log.messages)


@pytest.mark.parametrize('target', ['..', '../..', '.', '../b', '../a/deep', '../../..'])
def test_a_link_multiplies_and_mislabels_nothing(tree, log, target):
    picture(tree / 'a' / 'deep' / '2.png', 0)
    picture(tree.parent / 'val' / 'a' / '0.png', 9)
    (tree / 'a' / 'more').symlink_to(target)
    (tree / 'b' / 'again').symlink_to('../a')
    assert labels_of(tree) == [0, 0, 0, 1, 1]
    assert '2 in folders that were read already' in log.text


def test_linked_class_folders_and_links_to_more_images_work(tree, tmp_path):
    for name in ('c', 'more'):
        picture(tmp_path / 'elsewhere' / name / 'x.png', 2 if name == 'c' else 0)
    (tree / 'c').symlink_to(tmp_path / 'elsewhere' / 'c')
    (tree / 'a' / 'more').symlink_to(tmp_path / 'elsewhere' / 'more')
    (tree / 'b' / '0.png').unlink()
    (tree / 'b' / '0.png').symlink_to('1.png')
    assert labels_of(tree) == [0, 0, 0, 1, 1, 2]


def test_two_links_to_one_folder_are_no_two_classes(tree):
    (tree / 'c').symlink_to('a')
    for build in (lambda: ImageFolder(tree, 4), lambda: lazily(tree)):
        with pytest.raises(InputError, match="class 'c' has no image"):
            build()


@pytest.mark.parametrize('place', ['c', 'a/more'])
def test_a_link_that_leads_nowhere_is_named(tree, place):
    (tree / place).symlink_to('/gone')
    for build in (lambda: ImageFolder(tree, 4), lambda: lazily(tree)):
        with pytest.raises(InputError, match=f'{place} is a link that leads nowhere'):
            build()


def test_an_unreadable_folder_is_no_empty_one(tree, monkeypatch):
    scan = os.scandir

    def forbidding(path):
        if os.fspath(path).endswith('deep'):
            raise PermissionError(13, 'Permission denied', os.fspath(path))
        return scan(path)

    (tree / 'a' / 'deep').mkdir()
    monkeypatch.setattr(os, 'scandir', forbidding)
    with pytest.raises(PermissionError):
        ImageFolder(tree, 4)


NAME = 'caf\u00e9'


@pytest.mark.parametrize(
    'name',
    [NAME.encode(), unicodedata.normalize('NFD', NAME).encode(), NAME.encode('latin-1')],
    ids=['composed', 'decomposed', 'latin-1'],
)
def test_names_are_compared_as_they_read(tree, name):
    subsets = []
    for index in range(6):
        picture(os.fsencode(tree) + b'/' + name + b'/' + name + f'{index}.png'.encode(), 2)
    dataset = ImageFolder(tree, 4, classes=['a', 'b', NAME])
    assert dataset.metainfo['classes'] == ('a', 'b', NAME) and dataset.labels.tolist() == [0, 0, 1, 1] + [2] * 6
    assert ImageFolder(tree, 4, classes=['a', 'b', unicodedata.normalize('NFD', NAME)]).metainfo == dataset.metainfo
    subsets.append(ImageFolder(tree, 4, labels_per_class=1).labels.tolist())
    assert subsets == [[0, 1, 2]] and lazily(tree).metainfo['classes'] == ('a', 'b', NAME)


def test_names_that_look_alike_are_refused(tree):
    for form in ('NFC', 'NFD'):
        picture(tree / unicodedata.normalize(form, NAME) / 'x.png')
    for build in (lambda: ImageFolder(tree, 4), lambda: lazily(tree)):
        with pytest.raises(InputError, match='two folders whose names look alike'):
            build()


def test_a_broken_file_with_odd_bytes_is_named_in_printable_text(tree, log):
    with open(os.fsencode(tree) + b'/a/caf\xe9.png', 'wb'):
        pass
    with pytest.raises(InputError) as caught:
        ImageFolder(tree, 4)
    assert r'caf\xe9.png cannot be read' in str(caught.value).encode().decode()
    assert len(ImageFolder(tree, 4, broken='skip')) == 4
    assert r'caf\xe9.png' in log.text


@pytest.mark.parametrize('ending', ['.gif', '.jfif', '.avif', '.jp2', '.jpe', '.JPG', '.webp', '.bmp', '.tiff', '.tga'])
def test_what_pillow_reads_is_read(tree, ending):
    if ending.lower() not in image_extensions():
        pytest.skip(f'this Pillow reads no {ending}')
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tree / 'a' / f'x{ending}')
    assert ImageFolder(tree, 4).labels.tolist() == [0, 0, 0, 1, 1]


def test_what_pillow_only_recognizes_is_not_read():
    assert not {'.h5', '.grib', '.mpg', '.eps', '.pdf', '.txt', ''} & image_extensions()


def test_a_folder_too_deep_or_too_high_is_named(tree):
    for build in (ImageFolder, lambda root, size: lazily(root)):
        with pytest.raises(InputError, match=r"'train' is the only folder.*be a, b .*set data_root to .*/train\."):
            build(tree.parent, 4)
        (tree.parent / 'val').mkdir(exist_ok=True)
        with pytest.raises(InputError, match='are splits .*train, val.*set data_root to one of them'):
            build(tree.parent, 4)
        (tree.parent / 'val').rmdir()


@pytest.mark.parametrize('build', [lambda root: ImageFolder(root, 4), lazily])
def test_empty_folders_and_lone_classes_end_in_a_sentence(tree, build):
    with pytest.raises(InputError, match='holds no class folder: images must lie in'):
        build(tree / 'a')
    (tree / 'empty').mkdir()
    with pytest.raises(InputError, match='holds no class folder'):
        build(tree / 'empty')
    with pytest.raises(InputError, match="class 'empty' has no image"):
        build(tree)
    picture(tree.parent / 'one' / 'cat' / 'x.png')
    with pytest.raises(InputError, match="'cat' is the only folder.*two classes or more"):
        build(tree.parent / 'one')


class TestUnlabeled:
    @pytest.fixture
    def more(self, tmp_path):
        """Three images, nested, with a hidden one."""
        for path in ('x.png', 'deep/y.png', 'deep/er/z.jpeg', '.hidden/h.png'):
            picture(tmp_path / 'more' / path, 200)
        return tmp_path / 'more'

    def test_a_folder_flat_or_nested_adds_images_without_label(self, tree, more, log):
        dataset = ImageFolder(tree, 4, unlabeled=more)
        assert dataset.labels.tolist() == [0, 0, 1, 1, -1, -1, -1]
        assert (dataset.images[4:] == 200).all() and dataset.metainfo['classes'] == ('a', 'b')
        assert '4 images of 2 classes, 3 unlabeled images; passed over: 1 hidden' in log.text

    def test_it_may_lie_beside_the_class_folders(self, tree):
        picture(tree / 'unknown' / 'x.png', 200)
        assert ImageFolder(tree, 4, unlabeled=tree / 'unknown').labels.tolist() == [0, 0, 1, 1, -1]

    def test_it_need_not_be_given_by_its_whole_path(self, tree, more, monkeypatch):
        monkeypatch.chdir(tree.parent)
        assert ImageFolder('train', 4, unlabeled='more').labels.tolist() == [0, 0, 1, 1, -1, -1, -1]

    def test_no_image_has_two_places(self, tree, more):
        (more / 'linked').symlink_to(tree / 'a')
        assert ImageFolder(tree, 4, unlabeled=more).labels.tolist() == [0, 0, 1, 1, -1, -1, -1]
        with pytest.raises(InputError, match='holds none'):
            ImageFolder(tree, 4, unlabeled=tree / 'a' / '..')

    def test_a_subset_drops_none_of_them_and_can_keep_the_others_without_label(self, tree, more):
        assert ImageFolder(tree, 4, unlabeled=more, labels_per_class=1).labels.tolist() == [0, 1, -1, -1, -1]
        kept = ImageFolder(tree, 4, unlabeled=more, labels_per_class=1, others='unlabeled').labels
        assert sorted(kept.tolist()) == [-1] * 5 + [0, 1]

    def test_labeled_images_of_a_subset_are_not_skipped_but_others_are(self, tree, more):
        (more / 'broken.png').write_bytes(b'')
        options = dict(unlabeled=more, labels_per_class=1, others='unlabeled', broken='skip')
        whole = ImageFolder(tree, 4, **options)
        assert len(whole) == 7
        place = whole.labels.tolist().index(0)
        (tree / 'a' / f'{place}.png').write_bytes(b'')
        with pytest.raises(InputError, match=r'a/\d\.png cannot be read'):
            ImageFolder(tree, 4, **options)

    def test_without_any_label(self, more):
        dataset = ImageFolder(None, 4, classes=['a', 'b'], unlabeled=more)
        assert dataset.labels.tolist() == [-1] * 3 and dataset.metainfo['classes'] == ('a', 'b')
        with pytest.raises(InputError, match='without a data_root'):
            ImageFolder(None, 4, unlabeled=more)

    def test_nothing_there(self, tree):
        with pytest.raises(MissingFileError, match='unlabeled images .*nowhere is not there'):
            ImageFolder(tree, 4, unlabeled=tree / 'nowhere')
        (tree.parent / 'empty').mkdir()
        (tree.parent / 'empty' / 'x.txt').write_text('')
        with pytest.raises(InputError, match=r'empty holds none; passed over: 1 no image \(.txt\)'):
            ImageFolder(tree, 4, unlabeled=tree.parent / 'empty')
