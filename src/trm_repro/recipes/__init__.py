"""Recipes: what a run must be, and what others published."""
