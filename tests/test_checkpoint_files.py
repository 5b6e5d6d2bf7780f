"""The reader of checkpoint files: a flipped byte, a cut file and a pickle with code each end in a sentence."""

from __future__ import annotations

import pytest
import torch

from crld_zoo.checkpoint_files import check_bytes, read_checkpoint
from crld_zoo.errors import InputError, MissingFileError


@pytest.fixture
def file(tmp_path):
    torch.save(dict(weight=torch.arange(1000.0)), tmp_path / 'x.pth')
    return tmp_path / 'x.pth'


def test_a_whole_file_is_read(file):
    assert torch.equal(read_checkpoint(file)['weight'], torch.arange(1000.0))


def test_a_flipped_byte_of_a_tensor_is_seen(file):
    content = bytearray(file.read_bytes())
    content[content.index(torch.arange(1000.0).numpy().tobytes()[400:420])] ^= 1
    file.write_bytes(content)
    assert not torch.equal(torch.load(file)['weight'], torch.arange(1000.0))  # torch itself does not notice
    for read in (read_checkpoint, check_bytes):
        with pytest.raises(InputError, match='is damaged'):
            read(file)
    assert 'weight' in read_checkpoint(file, verify=False)


@pytest.mark.parametrize('kept', [0, 10, 500, -100])
def test_a_cut_file_is_damaged(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(InputError, match='is damaged'):
        read_checkpoint(file)


def test_a_missing_file(tmp_path):
    with pytest.raises(MissingFileError, match='there is no checkpoint'):
        read_checkpoint(tmp_path / 'x.pth')


class Code:
    def __reduce__(self):
        return print, ('run',)


@pytest.mark.parametrize('zipped', [True, False])
def test_code_runs_only_where_it_is_trusted(zipped, tmp_path, capsys):
    torch.save(dict(code=Code()), tmp_path / 'x.pth', _use_new_zipfile_serialization=zipped)
    with pytest.raises(InputError, match=r'wants to run code \(\S*print'):
        read_checkpoint(tmp_path / 'x.pth')
    assert not capsys.readouterr().out
    read_checkpoint(tmp_path / 'x.pth', trust_pickle=True)
    assert capsys.readouterr().out == 'run\n'
