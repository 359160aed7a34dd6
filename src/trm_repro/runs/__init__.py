"""What a run leaves, where, and what that says: stamps, records, metrics, checkpoints."""
