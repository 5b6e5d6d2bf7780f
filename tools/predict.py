"""Classify pictures: python tools/predict.py RUN IMAGE… | FOLDER"""

from crld_zoo.launch import main_guard
from crld_zoo.launch.predict import main

if __name__ == '__main__':
    main_guard(main)()
