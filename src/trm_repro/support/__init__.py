"""What is put under a training from outside, a folder each: on its PYTHONPATH where a recipe says ``train.support``."""
