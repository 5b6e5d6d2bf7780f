"""List what the zoo has: distillers, decorators, view operations, models, data sets, configs."""

from crld_zoo.launch import main_guard
from crld_zoo.launch.listing import main

if __name__ == '__main__':
    main_guard(main)()
