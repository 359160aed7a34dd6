"""What a run leaves, where, and what that says: stamps, records, metrics, checkpoints; and what is to be expected of it."""
