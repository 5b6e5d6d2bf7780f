from setuptools import find_packages, setup
setup(name='crld-zoo', version='0.1.0', packages=find_packages(include=['crld_zoo', 'crld_zoo.*']), python_requires='>=3.10,<3.14',
 install_requires=['torch>=2.6,<2.14','torchvision>=0.21,<0.29','numpy>=1.26','mmengine>=0.10.7,<0.11','mmcv-lite>=2.1,<2.4','mmpretrain>=1.2,<1.3','setuptools>=77.0.3,<82','scikit-learn'],
 extras_require=dict(test=['pytest','scikit-learn']))
