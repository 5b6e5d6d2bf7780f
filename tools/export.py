"""Export a trained student: python tools/export.py RUN --to onnx"""

from crld_zoo.launch import main_guard
from crld_zoo.launch.export import main

if __name__ == '__main__':
    main_guard(main)()
