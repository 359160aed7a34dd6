"""The demonstration: a small TRM learns Sudoku within minutes, and shows how it answers."""
