"""What made a run: digests, manifest, statement, verification."""
