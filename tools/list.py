"""List what the zoo has: distillers, decorators, view operations, models, data sets, configs; methods as a table."""

from crld_zoo.launch import main_guard
from crld_zoo.launch.listing import main

if __name__ == '__main__':
    main_guard(main)()
