"""Everything that a machine with a GPU can show, in one command: python tools/gpu.py --help"""

import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

if __name__ == '__main__':
    sys.path.insert(0, str(ROOT))  # the package may not be installed where there is no network
    # First, and without an import of anything that may be missing.
    missing = runpy.run_path(str(ROOT / 'crld_zoo/benchmark/requirements.py'))['missing'](ROOT / 'setup.py')
    if missing:
        lines = [f'  {name} (needed by {owner})' for name, owner in missing.items()]
        sys.exit('\n'.join(['error: these packages are missing; bring their wheels:', *lines]))

    from crld_zoo.benchmark.gpu import main
    from crld_zoo.launch import main_guard

    main_guard(main)()
