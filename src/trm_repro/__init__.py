"""trm-repro: reproduce the Tiny Recursive Model on ARC-AGI-2, and let a stranger check the result.

The package computes; the numbered shell steps of the repository orchestrate. Rooms and their floors are described in
``docs/architecture.md``: a module imports only from floors below its own.
"""

__version__ = "0.1.0"
