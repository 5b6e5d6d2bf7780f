"""Train a student from a config: python tools/train.py configs/crld/dkd+crld_r34_r18_imagenet.py"""

from crld_zoo.launch import main_guard
from crld_zoo.launch.train import main

if __name__ == '__main__':
    main_guard(main)()
