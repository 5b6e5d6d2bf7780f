"""The main job on a sample: python tools/quickstart.py trains a teacher, a baseline and two distilled students."""

from crld_zoo.launch import main_guard
from crld_zoo.launch.quickstart import main

if __name__ == '__main__':
    main_guard(main)()
