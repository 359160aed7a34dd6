"""Packaging a run and publishing it: Kaggle, Hugging Face, model card; fetching what others published."""
