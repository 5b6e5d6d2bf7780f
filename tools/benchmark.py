"""Where the time of a training step goes: python tools/benchmark.py configs/crld/kd+crld_r56_r20_cifar100.py"""

from crld_zoo.benchmark.command import main
from crld_zoo.launch import main_guard

if __name__ == '__main__':
    main_guard(main)()
