"""What is written twice, in files of different tools, is the same."""

from __future__ import annotations

import re
import runpy

import pytest
import setuptools
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from crld_zoo import __version__


@pytest.fixture(scope='module')
def setup(root) -> dict:
    """What ``setup.py`` says."""
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, 'setup', said.update)
        runpy.run_path(str(root / 'setup.py'))
    return said


def test_pre_commit_runs_the_tools_of_make_check(root, setup):
    config = yaml.safe_load((root / '.pre-commit-config.yaml').read_text(encoding='utf-8'))
    hooks = [hook for repository in config['repos'] for hook in repository['hooks']]
    tools = {tool for hook in hooks for tool in hook.get('additional_dependencies', [])}
    assert tools and tools <= set(setup['extras_require']['dev'])
    makefile = (root / 'Makefile').read_text(encoding='utf-8')
    checks = re.findall(r'^\t\$\(BIN\)/((?:ruff|mypy)\b(?: check| format)?)', makefile, re.MULTILINE)
    assert {hook['name'] for hook in hooks} == set(checks)


def test_the_workflow_runs_both_ends_of_the_supported_pythons(root, setup):
    workflow = yaml.safe_load((root / '.github' / 'workflows' / 'ci.yml').read_text(encoding='utf-8'))
    (job,) = workflow['jobs'].values()
    supported = [f'3.{minor}' for minor in range(30) if f'3.{minor}.99' in SpecifierSet(setup['python_requires'])]
    assert job['strategy']['matrix']['include'] == [
        dict(python=supported[0], versions='lowest'),
        dict(python=supported[-1], versions='newest'),
    ]


def test_every_requirement_has_a_lower_bound_to_be_held_at(setup):
    requirements = {*setup['install_requires'], *sum(setup['extras_require'].values(), [])}
    bounds = {text: {bound.operator for bound in Requirement(text).specifier} for text in requirements}
    assert not [text for text, operators in bounds.items() if not operators & {'>=', '=='}]


def test_the_version_is_cited_and_described(root):
    citation = yaml.safe_load((root / 'CITATION.cff').read_text(encoding='utf-8'))
    assert citation['version'] == __version__
    assert f'## [{__version__}]' in (root / 'CHANGELOG.md').read_text(encoding='utf-8')
