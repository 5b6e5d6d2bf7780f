"""The remedies: each does what it says where its condition holds, and nothing where it does not."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub

from crld_zoo import compat


def run_python(code: str, path) -> tuple[dict, str]:
    """Run code in a process of its own with ``path`` in front; its last printed line as JSON, and what it warned."""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'PYTHONPATH': str(path)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stderr


def installed(folder, **versions: str) -> None:
    """Pretend that packages are installed: their metadata, no code."""
    for name, number in versions.items():
        info = folder / f'{name}-{number}.dist-info'
        info.mkdir(parents=True)
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n')


# torchvision's operators


STAND_IN = """
import os, torch
if os.environ.get('BROKEN_OTHERWISE'):
    raise RuntimeError('something else is wrong')
try:
    torch.ops.torchvision.nms
except AttributeError:
    raise RuntimeError('operator torchvision::nms does not exist') from None
"""


def test_torchvision_whose_operators_are_missing(tmp_path):
    package = tmp_path / 'torchvision'
    package.mkdir()
    (package / '__init__.py').write_text(STAND_IN)
    seen, _ = run_python(
        """
import json, os, sys
import crld_zoo.compat as compat
mend = compat._mend_torchvision_operators
seen = dict(imported='torchvision' in sys.modules, mended=len(compat._LIBRARIES) == 1)

del sys.modules['torchvision']  # the operators live on, so the package imports by itself now
mend()
seen['mended where it was whole'] = len(compat._LIBRARIES) > 1

del sys.modules['torchvision']
os.environ['BROKEN_OTHERWISE'] = '1'
try:
    mend()
except RuntimeError as error:
    seen['other error'] = str(error)
print(json.dumps(seen))
""",
        tmp_path,
    )
    assert seen == {
        'imported': True,
        'mended': True,
        'mended where it was whole': False,
        'other error': 'something else is wrong',
    }


def test_torchvision_imports_and_its_transforms_work():
    from torchvision.transforms import v2

    assert v2.functional.hflip(torch.arange(3)[None, None]).flatten().tolist() == [2, 1, 0]


# Checkpoints that mmengine wrote


def test_mmengine_checkpoint_loads_with_weights_only(tmp_path):
    hub = MessageHub('of a checkpoint')
    for value in (0.5, 0.25):
        hub.update_scalar('train/loss', value)
    hub.update_info('best', np.float32(0.75))
    checkpoint = dict(
        state_dict={'weight': torch.ones(2)},
        message_hub=hub.state_dict(),
        meta=dict(epoch=3, scalars=[np.float64(0.5), np.int64(3), np.bool_(True)], array=np.arange(3, dtype=np.int16)),
    )
    torch.save(checkpoint, tmp_path / 'epoch_3.pth')
    loaded = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)
    history = loaded['message_hub']['log_scalars']['train/loss']
    assert isinstance(history, HistoryBuffer)
    assert history.mean() == 0.375 and history.current() == 0.25 and history.min() == 0.25 and history.max() == 0.5
    assert history.statistics('mean', 1) == 0.25
    assert loaded['meta']['scalars'] == [0.5, 3, True]
    assert loaded['meta']['array'].tolist() == [0, 1, 2]
    assert loaded['message_hub']['runtime_info']['best'] == 0.75


class Asks:
    """Pickles as a call of whatever it is given."""

    def __init__(self, function, *args) -> None:
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    'request_',
    [
        Asks(getattr, HistoryBuffer, 'update'),
        Asks(getattr, HistoryBuffer, '__init__'),
        Asks(getattr, collections.OrderedDict, 'fromkeys'),
        Asks(getattr, torch.Tensor, 'mean'),
    ],
    ids=['another method', 'a dunder', 'another class', 'a class torch knows'],
)
def test_getattr_of_anything_else_is_refused(tmp_path, request_):
    torch.save(dict(meta=request_), tmp_path / 'evil.pth')
    with pytest.raises(Exception, match='a checkpoint may not ask for|Unsupported|not an allowed global'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


def test_the_four_statistics_are_all_that_getattr_gives(tmp_path):
    for name in ('min', 'max', 'mean', 'current'):
        torch.save(Asks(getattr, HistoryBuffer, name), tmp_path / 'statistic.pth')
        assert torch.load(tmp_path / 'statistic.pth', weights_only=True) is getattr(HistoryBuffer, name)


@pytest.mark.parametrize('function', [os.system, eval, exec, __import__])
def test_other_globals_stay_refused(tmp_path, function):
    torch.save(Asks(function, 'print'), tmp_path / 'evil.pth')
    with pytest.raises(Exception, match='[Uu]nsupported|not an allowed global'):
        torch.load(tmp_path / 'evil.pth', weights_only=True)


# mmpretrain's multimodal models, mmcv-lite's warning


def test_transformers_5_beside_pycocotools(tmp_path):
    """mmpretrain would count both as usable and fail to import its multimodal models; the classifiers load."""
    installed(tmp_path, transformers='5.1.0', pycocotools='2.0.10')
    seen, warned = run_python(
        """
import json, sys, warnings
import crld_zoo
loaded_early = 'mmpretrain' not in sys.modules and 'mmpretrain.utils.dependency' in sys.modules
import mmpretrain.models
from mmpretrain.utils import dependency
usable = all(map(dependency.satisfy_requirement, ('pycocotools', 'transformers>=4.28.0')))
warnings.warn('something else')
print(json.dumps(dict(early=loaded_early, usable=usable, flag=dependency.WITH_MULTIMODAL,
                      classifier=mmpretrain.models.ImageClassifier.__name__)))
""",
        tmp_path,
    )
    assert seen == dict(early=True, usable=True, flag=False, classifier='ImageClassifier')
    assert 'MultiScaleDeformableAttention' not in warned, 'mmcv-lite lacks it, and says so unless told not to'
    assert 'something else' in warned, 'other warnings are heard'


@pytest.mark.parametrize(
    'versions',
    [dict(transformers='4.57.0', pycocotools='2.0.10'), dict(transformers='5.1.0'), dict(pycocotools='2.0.10'), {}],
    ids=['transformers 4', 'no pycocotools', 'no transformers', 'neither'],
)
def test_multimodal_models_are_left_alone_otherwise(monkeypatch, versions):
    def version(name):
        if name not in versions:
            raise compat.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(compat, 'version', version)
    monkeypatch.delitem(sys.modules, 'mmpretrain.utils.dependency', raising=False)
    compat._skip_multimodal_models()
    assert 'mmpretrain.utils.dependency' not in sys.modules
