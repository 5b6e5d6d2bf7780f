"""The guides of docs/, followed to the letter in a copy of the repository: four files a method, and nothing else."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from ..test_docs.pages import blocks

GUIDES = dict(Hellinger='logit_method', Projected='feature_method', Tempered='decorator')


def write(root, guide: str) -> list[str]:
    """The four files of a guide: three new ones and a row in the README; their names."""
    page = f'docs/guides/{guide}.md'
    files = {block.file: block.text for block in blocks(page) if block.file}
    for name, text in files.items():
        path = root / name
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)  # of a recipe; the other folders are there
        path.write_text(text, encoding='utf-8')
    (row,) = blocks(page, 'markdown')
    readme = root / 'README.md'
    text = readme.read_text(encoding='utf-8')
    readme.write_text(re.sub(r'^(?=\| `CRLD` \|)', row.text, text, count=1, flags=re.MULTILINE), encoding='utf-8')
    return [*files, 'README.md']


@pytest.mark.whole
def test_a_method_of_each_kind_costs_four_files(root, tmp_path):
    for folder in ('crld_zoo', 'configs', 'tests', 'tools', 'docs'):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns('__pycache__'))
    for file in root.iterdir():
        if file.is_file():
            shutil.copy(file, tmp_path / file.name)
    methods = []
    for guide in GUIDES.values():
        written = write(tmp_path, guide)
        assert len(written) == 4
        methods += [name for name in written if name.startswith('crld_zoo/')]
    finished = subprocess.run(
        [sys.executable, '-m', 'pytest', '-p', 'no:cacheprovider', '--doctest-modules', '-k', ' or '.join(GUIDES)]
        + ['tests/test_distillers', 'tests/test_zoo.py', 'tests/test_configs', *methods],
        cwd=tmp_path,
        env=os.environ | dict(PYTHONPATH=str(tmp_path)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout[-5000:]
    assert int(re.search(r'(\d+) passed', finished.stdout)[1]) > 400
