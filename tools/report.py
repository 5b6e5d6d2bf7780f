"""Figures and a page of trained runs: python tools/report.py RUN… -o FOLDER"""

from crld_zoo.launch import main_guard
from crld_zoo.launch.report import main

if __name__ == '__main__':
    main_guard(main)()
