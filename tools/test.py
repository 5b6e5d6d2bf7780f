"""Evaluate a checkpoint: python tools/test.py CONFIG CHECKPOINT. The teacher and its weights are not needed."""

from crld_zoo.launch import main_guard
from crld_zoo.launch.test import main

if __name__ == '__main__':
    main_guard(main)()
