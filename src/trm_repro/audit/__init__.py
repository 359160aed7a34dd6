"""What somebody published of a TRM, held against what its files show: claim, found, verdict."""
