"""The machine: what it has, what a run needs of it, how long that takes."""
