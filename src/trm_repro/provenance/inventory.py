"""What is installed in an environment: every distribution with its version and the digest of its RECORD.

RECORD lists the digest of every file that a distribution installed, so its own digest pins the installed bytes. Run as a
file by the environment's own interpreter (``python inventory.py``), it prints the inventory as JSON; it needs Python 3.10
and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import platform
from importlib import metadata
from typing import Any


def inventory() -> dict[str, Any]:
    """The inventory of the environment of the interpreter at work.

    Returns:
        {"python": version, "distributions": [{"name", "version", "record": SHA-256 or None}, …]}, sorted by name.
    """
    found: dict[str, dict[str, Any]] = {}
    for distribution in metadata.distributions():
        name, record = distribution.metadata["Name"], distribution.read_text("RECORD")
        digest = hashlib.sha256(record.encode()).hexdigest() if record else None
        # sys.path may show a distribution twice: the first one is the one that is imported
        found.setdefault(name, {"name": name, "version": distribution.version, "record": digest})
    ordered = sorted(found.values(), key=lambda entry: entry["name"].lower())
    return {"python": platform.python_version(), "distributions": ordered}


if __name__ == "__main__":
    print(json.dumps(inventory(), indent=2))
