"""What students and teachers cost: python tools/profile_runs.py RUN…  (a file profile.py would hide Python's own)"""

from crld_zoo.launch import main_guard
from crld_zoo.launch.profile import main

if __name__ == '__main__':
    main_guard(main)()
