"""Show what the networks see: python tools/browse_views.py CONFIG draws training images and their views into a PNG."""

from crld_zoo.launch import main_guard
from crld_zoo.launch.browse_views import main

if __name__ == '__main__':
    main_guard(main)()
