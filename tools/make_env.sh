#!/bin/sh
# Make a virtual environment: make_env.sh PYTHON FOLDER [REQUIREMENT …]
# Without requirements it is a developer's: the clone itself with all that its checks and tests need.
set -eu
python=$1
env=$2
shift 2
[ $# -gt 0 ] || set -- --editable '.[dev]'

"$python" - <<'END' || exit 2
import sys
if not (3, 10) <= sys.version_info[:2] < (3, 14):
    sys.exit(f'error: Python {sys.version.split()[0]} is not supported: use 3.10 to 3.13 (make PYTHON=python3.12 …)')
END

# Debian keeps ensurepip in a package of its own (python3-venv); without it, the system's pip fills the environment.
if "$python" -c 'import ensurepip' 2>/dev/null; then
    "$python" -m venv "$env"
else
    "$python" -m venv --without-pip "$env"
    "$python" -m pip --python "$env/bin/python" install --quiet pip
fi
"$env/bin/python" -m pip install --quiet "$@"

# mmengine requires opencv-python, which needs libGL; the headless build does not, and gives the same module.
if ! "$env/bin/python" -c 'import cv2' 2>/dev/null; then
    version=$("$env/bin/python" -c 'from importlib.metadata import version; print(version("opencv-python"))')
    "$env/bin/python" -m pip uninstall --quiet --yes opencv-python
    "$env/bin/python" -m pip install --quiet "opencv-python-headless==$version" ||
        "$env/bin/python" -m pip install --quiet opencv-python-headless
fi
"$env/bin/python" -I -c 'import cv2, crld_zoo; print(f"crld_zoo {crld_zoo.__version__} is installed")'
