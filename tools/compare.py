"""Train and compare rows of recipes and seeds: python tools/compare.py configs/compare/short_cifar100.py --jobs 2"""

from crld_zoo.launch import main_guard
from crld_zoo.launch.compare import main

if __name__ == '__main__':
    main_guard(main)()
