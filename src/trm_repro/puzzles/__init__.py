"""Sudoku-Extreme and Maze-Hard datasets."""
