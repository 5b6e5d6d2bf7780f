"""The documentation site: `make docs` builds it. The pages of methods and of the API are made from docstrings."""

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import generate

import crld_zoo

project = 'crld_zoo'
author = 'The crld_zoo contributors'
release = version = crld_zoo.__version__

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.napoleon']
exclude_patterns = ['performance/*']
html_theme = 'furo'
html_title = f'crld_zoo {release}'
html_copy_source = False

myst_heading_anchors = 3

autodoc_typehints = 'none'  # docstrings say what an argument is; signatures stay readable
autodoc_member_order = 'bysource'
autodoc_inherit_docstrings = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True


def without_paths(app, kind, name, value, options, signature, returns):
    """A default that is a folder of this machine says nothing to a reader."""
    return signature and re.sub(r"\w*Path\('[^']*'\)", '...', signature), returns


def setup(app):
    """Write the generated pages before the sources are read."""
    app.connect('config-inited', lambda app, config: generate.write(Path(app.srcdir)))
    app.connect('autodoc-process-signature', without_paths)
