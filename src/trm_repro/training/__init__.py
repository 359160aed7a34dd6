"""Training from outside: run it under supervision, watch it, diagnose its failures, judge its result."""
