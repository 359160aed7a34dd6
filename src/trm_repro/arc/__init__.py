"""ARC tasks, grids, augmentation, the dataset builder and scoring."""
