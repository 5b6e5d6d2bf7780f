"""Installation. ``pip install -e .`` in a clone; the Makefile does it in an environment of its own."""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
VERSION = re.search(r"__version__ = '(.+)'", (ROOT / 'crld_zoo/version.py').read_text(encoding='utf-8')).group(1)

# The upper bounds are what was run: beyond them pip takes a torch that mmengine has not been tried with. The lower ones
# are for .github/workflows/ci.yml to run.
REQUIRES = [
    'torch>=2.8,<2.14',
    'torchvision>=0.23,<0.29',
    'numpy>=1.26',
    'mmengine>=0.10.7,<0.11',
    'mmcv-lite>=2.1,<2.4',
    'mmpretrain>=1.2,<1.3',
    'safetensors>=0.4',
    'rich>=13.0',
    'setuptools>=77.0.3,<82',  # mmengine's `package::config` bases need pkg_resources, gone in 82
]
EXTRAS = {
    'demo': ['scikit-learn>=1.3'],
    'timm': ['timm>=1.0.27'],
    'tensorboard': ['tensorboard>=2.15'],
    'export': ['onnx>=1.17', 'onnxscript>=0.7', 'onnxruntime>=1.20', 'huggingface_hub>=0.24'],
    'report': ['matplotlib>=3.8', 'scikit-learn>=1.3'],
    'cluster': ['submitit>=1.5'],
}
EXTRAS['docs'] = ['sphinx>=8.0', 'myst-parser>=4.0', 'furo>=2024.8.6', *EXTRAS['report']]  # its page of the API
EXTRAS['test'] = [
    'pytest>=8.0',
    'pytest-xdist>=3.7',
    *EXTRAS['demo'],
    *EXTRAS['timm'],
    *EXTRAS['tensorboard'],
    *EXTRAS['export'],
    *EXTRAS['report'],
    *EXTRAS['cluster'],
]
EXTRAS['dev'] = ['ruff==0.17.6', 'mypy==2.4.1', 'pre-commit>=4.0', *EXTRAS['docs'], *EXTRAS['test']]


class BuildWithConfigs(build_py):
    """Puts the recipes into the package where MMEngine looks for those of installed packages, ``.mim/configs``."""

    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a clone's are read where they are
            mim = Path(self.build_lib, 'crld_zoo', '.mim')
            shutil.rmtree(mim, ignore_errors=True)
            shutil.copytree(ROOT / 'configs', mim / 'configs', ignore=shutil.ignore_patterns('__pycache__'))
            (mim / 'model-index.yml').write_text('Import: []\n')


setup(
    name='crld-zoo',
    version=VERSION,
    description='A plugin-based zoo of distillers for image classification on MMEngine, with CRLD for any of them',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    python_requires='>=3.10,<3.14',
    packages=find_packages(include=['crld_zoo', 'crld_zoo.*']),
    package_data={'crld_zoo': ['py.typed']},
    cmdclass={'build_py': BuildWithConfigs},
    entry_points={'console_scripts': ['crld-zoo = crld_zoo.launch.cli:main']},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
