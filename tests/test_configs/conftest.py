"""Images in the forms that the recipes read."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope='session', autouse=True)
def image_folder(tmp_path_factory: pytest.TempPathFactory):
    """``train`` and ``val``, each with two JPEGs of four classes; recipes for one's own images find it."""
    root = tmp_path_factory.mktemp('images')
    random = np.random.default_rng(0)
    for split in ('train', 'val'):
        for name in ('cat', 'dog', 'owl', 'yak'):
            (root / split / name).mkdir(parents=True)
            for index, (height, width) in enumerate(((72, 96), (100, 72))):
                pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f'{index}.jpg')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('IMAGES', str(root))
        yield root
