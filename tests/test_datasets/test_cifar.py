"""CIFAR from the published files and from arrays; the published files are imitated with md5 sums of their own."""

from __future__ import annotations

import functools
import hashlib
import http.server
import pickle
import tarfile
import threading

import numpy as np
import pytest
import torch
import torchvision

from crld_zoo.datasets import InMemoryCIFAR10, InMemoryCIFAR100
from crld_zoo.errors import InputError, MissingFileError

RNG = np.random.default_rng(0)
X_TRAIN, Y_TRAIN = RNG.integers(0, 256, (20, 32, 32, 3), dtype=np.uint8), np.arange(20) % 10
X_TEST, Y_TEST = RNG.integers(0, 256, (10, 32, 32, 3), dtype=np.uint8), np.arange(10)
ARRAYS = dict(x_train=X_TRAIN, y_train=Y_TRAIN.astype(np.uint8), x_test=X_TEST, y_test=Y_TEST.astype(np.uint8))


def md5(path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A web site of this machine's own: its folder and its address."""
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    folder = tmp_path / 'site'
    folder.mkdir()
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(_Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield folder, f'http://127.0.0.1:{server.server_port}'
        server.shutdown()


@pytest.fixture
def published(tmp_path, monkeypatch, site):
    """A data root with the folder and the archive of a ten-class set in CIFAR-10's form."""
    root = tmp_path / 'data'
    folder = root / 'small-batches-py'
    folder.mkdir(parents=True)
    contents = {'batches.meta': dict(label_names=list('abcdefghij'))}
    for name, images, labels in (
        ('data_1', X_TRAIN[:10], Y_TRAIN[:10]),
        ('data_2', X_TRAIN[10:], Y_TRAIN[10:]),
        ('test_batch', X_TEST, Y_TEST),
    ):
        contents[name] = dict(data=images.transpose(0, 3, 1, 2).reshape(10, -1), labels=labels.tolist())
    for name, content in contents.items():
        (folder / name).write_bytes(pickle.dumps(content))
    archive = root / 'small.tar.gz'
    with tarfile.open(archive, 'w:gz') as tar:
        tar.add(folder, folder.name)
    sums = {name: md5(folder / name) for name in contents}
    monkeypatch.setattr(
        InMemoryCIFAR10,
        'source',
        type(
            'CIFAR10',
            (torchvision.datasets.CIFAR10,),
            dict(
                base_folder=folder.name,
                filename=archive.name,
                url=f'{site[1]}/small.tar.gz',
                tgz_md5=md5(archive),
                train_list=[['data_1', sums['data_1']], ['data_2', sums['data_2']]],
                test_list=[['test_batch', sums['test_batch']]],
                meta=dict(filename='batches.meta', key='label_names', md5=sums['batches.meta']),
            ),
        ),
    )
    return root


def remove_folder(root):
    for path in (root / 'small-batches-py').iterdir():
        path.unlink()
    (root / 'small-batches-py').rmdir()


def holds(dataset, images, labels) -> bool:
    return (
        np.array_equal(dataset.images.permute(0, 2, 3, 1), images)
        and np.array_equal(dataset.labels, labels)
        and dataset.images.is_contiguous()
    )


def test_published_folder(published):
    train = InMemoryCIFAR10(published, 'train')
    assert holds(train, X_TRAIN, Y_TRAIN) and holds(InMemoryCIFAR10(published, 'test'), X_TEST, Y_TEST)
    assert train.metainfo['classes'][3] == 'cat'


def test_a_truncated_file_is_named(published):
    path = published / 'small-batches-py' / 'data_2'
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r'data_2 is truncated or changed: its md5 .*delete the folder'):
        InMemoryCIFAR10(published, 'test')
    path.unlink()
    with pytest.raises(InputError, match='data_2 is missing'):
        InMemoryCIFAR10(published, 'train')
    assert (published / 'small-batches-py' / 'data_1').exists(), 'what is there is left alone'


def test_a_changed_list_of_names_is_named(published):
    (published / 'small-batches-py' / 'batches.meta').write_bytes(pickle.dumps(dict(label_names=list('zyxwvutsrq'))))
    with pytest.raises(InputError, match=r'batches\.meta is truncated or changed'):
        InMemoryCIFAR10(published, 'train')


def test_archive_is_unpacked(published):
    remove_folder(published)
    assert holds(InMemoryCIFAR10(published, 'train', download=False), X_TRAIN, Y_TRAIN)
    assert sorted(path.name for path in published.iterdir()) == ['small-batches-py', 'small.tar.gz']


def test_truncated_archive_leaves_nothing(published):
    remove_folder(published)
    archive = published / 'small.tar.gz'
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(InputError, match=r'small\.tar\.gz is truncated or changed.*delete it'):
        InMemoryCIFAR10(published, 'train')
    assert [path.name for path in published.iterdir()] == ['small.tar.gz']


def test_download(published, site):
    remove_folder(published)
    (published / 'small.tar.gz').rename(site[0] / 'small.tar.gz')
    assert holds(InMemoryCIFAR10(published, 'test'), X_TEST, Y_TEST)
    assert [path.name for path in published.iterdir()] == ['small-batches-py']


@pytest.mark.parametrize('remote', [None, b'half a file'])
def test_failed_download_leaves_nothing(published, site, remote):
    remove_folder(published)
    (published / 'small.tar.gz').unlink()
    if remote:
        (site[0] / 'small.tar.gz').write_bytes(remote)
    with pytest.raises(MissingFileError, match=r'small\.tar\.gz .* could not be downloaded .*put it there'):
        InMemoryCIFAR10(published, 'train')
    assert not list(published.iterdir())


def test_nothing_there_and_no_download(published):
    remove_folder(published)
    (published / 'small.tar.gz').unlink()
    with pytest.raises(MissingFileError, match=r'neither .*small-batches-py nor small\.tar\.gz nor cifar10\.npz'):
        InMemoryCIFAR10(published, 'train', download=False)


def test_arrays(tmp_path):
    np.savez(tmp_path / 'cifar10.npz', **ARRAYS)
    found = InMemoryCIFAR10(tmp_path, 'train', download=False)
    named = InMemoryCIFAR100(tmp_path, 'test', data_file=tmp_path / 'cifar10.npz')
    assert holds(found, X_TRAIN, Y_TRAIN) and holds(named, X_TEST, Y_TEST)
    assert len(found.metainfo['classes']) == 10 and len(named.metainfo['classes']) == 100


def test_the_others_can_stay_without_label(published):
    whole = InMemoryCIFAR10(published, 'train')
    kept = InMemoryCIFAR10(published, 'train', labels_per_class=1, others='unlabeled')
    assert torch.equal(kept.images, whole.images) and sorted(kept.labels[kept.labels != -1].tolist()) == [*range(10)]


def test_subset_is_the_same_from_files_and_arrays(published):
    order = np.random.default_rng(1).permutation(20)
    np.savez(published / 'mixed.npz', x_train=X_TRAIN[order], y_train=Y_TRAIN[order])
    plain = InMemoryCIFAR10(published, 'train', labels_per_class=1)
    mixed = InMemoryCIFAR10(published, 'train', labels_per_class=1, data_file=published / 'mixed.npz')
    assert torch.equal(plain.images[plain.labels.argsort()], mixed.images[mixed.labels.argsort()])


def test_unknown_split(tmp_path):
    with pytest.raises(InputError, match="InMemoryCIFAR100: split must be 'train' or 'test', not 'val'"):
        InMemoryCIFAR100(tmp_path, 'val')


def test_missing_array_file(tmp_path):
    with pytest.raises(MissingFileError, match=r'data_file .*away\.npz is not there'):
        InMemoryCIFAR100('unused', 'train', data_file=tmp_path / 'away.npz')


@pytest.mark.parametrize(
    'changes, message',
    [
        (dict(x_train=X_TRAIN.astype(np.float32)), 'x_train of .* must be uint8 .* but is float32'),
        (dict(x_train=X_TRAIN.transpose(0, 3, 1, 2)), r'x_train of .* shape \(20, 3, 32, 32\)'),
        (dict(y_train=Y_TRAIN[:-1]), r'y_train of .* must be integers of shape \(20,\), but is int64 of shape \(19,\)'),
        (dict(y_train=Y_TRAIN.astype(float)), 'y_train of .* float64'),
        (dict(y_train=Y_TRAIN + 1), 'y_train of .* goes from 1 to 10, but there are 10 classes'),
        (dict(y_train=Y_TRAIN - 1), 'goes from -1 to 8'),
        (dict(x_train=X_TRAIN[:0], y_train=Y_TRAIN[:0]), 'holds no image'),
        (dict(y_train=np.array([None] * 20)), 'truncated or no .npz of plain arrays'),
    ],
)
def test_wrong_arrays(tmp_path, changes, message):
    np.savez(tmp_path / 'a.npz', **{**ARRAYS, **changes})
    with pytest.raises(InputError, match=message):
        InMemoryCIFAR10(tmp_path, 'train', data_file=tmp_path / 'a.npz')


def test_array_file_without_the_split(tmp_path):
    np.savez(tmp_path / 'a.npz', x_test=X_TEST, y_test=Y_TEST)
    with pytest.raises(InputError, match='holds no x_train and no y_train, but x_test, y_test'):
        InMemoryCIFAR10(tmp_path, 'train', data_file=tmp_path / 'a.npz')


@pytest.mark.parametrize(
    'damage',
    [
        lambda whole: whole[:-100],
        lambda whole: whole[:1000],
        lambda whole: b'',
        lambda whole: whole[:5000] + b'x' + whole[5001:],
    ],
)
def test_damaged_array_file(tmp_path, damage):
    np.savez(tmp_path / 'whole.npz', **ARRAYS)
    (tmp_path / 'a.npz').write_bytes(damage((tmp_path / 'whole.npz').read_bytes()))
    with pytest.raises(InputError, match=r'a\.npz is truncated or no \.npz'):
        InMemoryCIFAR10(tmp_path, 'train', data_file=tmp_path / 'a.npz')
