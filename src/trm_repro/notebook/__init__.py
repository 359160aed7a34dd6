"""The notebook that uses a bundle on Kaggle."""
