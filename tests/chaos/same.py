"""Whether two manifests say the same, times and names of attempts aside: ``same.py MANIFEST NAME MANIFEST NAME``.

NAME is the run's; with two names, what bears a name is not compared byte for byte. Needs the standard library only.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from pathlib import Path
from typing import Any

TIMES = ("started", "finished")


def plain(path: Path, name: str = "", other: str = "") -> list[str]:
    """A manifest without what may differ, as lines.

    Args:
        path: the manifest's.
        name: its run's; becomes RUN wherever it stands.
        other: that of the run with which it is compared.
    """
    text = path.read_text()
    found: dict[str, Any] = json.loads(re.sub(re.escape(name), "RUN", text) if name else text)
    for part in (found["run"], *found["steps"], *found["commands"], *found["guards"]):
        for key in (*TIMES, "said"):  # a training that was taken up again says so
            part.pop(key, None)
    for side in ("inputs", "outputs"):
        # a log's name is its attempt's, and its lines have times, like those of the metrics
        found[side] = [entry for entry in found[side] if entry["role"] not in ("log", "metrics")]
    for command in found["commands"]:  # a dataset keeps the name of the run that made it
        command["env"] = {key: value for key, value in command["env"].items() if "/caches/" not in value}
    if name != other:
        for entry in found["inputs"] + found["outputs"]:
            if re.search("config.yaml|COMMANDS.txt|step_", entry["path"]):  # their bytes hold the run's name
                del entry["sha256"], entry["bytes"]
        found["knobs"], found["host"] = [], []
        found["recipe"]["resolved"].pop("run_name", None)  # what the recipe would call it
        for command in found["commands"]:
            command["env"].pop("WANDB_DIR", None)
    return json.dumps(found, indent=1, sort_keys=True).splitlines()


def differences(one: Path, other: Path, names: tuple[str, str] = ("", "")) -> list[str]:
    """What two manifests say differently, as lines of a diff; empty where they say the same."""
    lines = [plain(one, *names), plain(other, *names[::-1])]
    return list(difflib.unified_diff(*lines, lineterm="", n=2))


if __name__ == "__main__":
    first, name, second, other = sys.argv[1:]
    sys.exit("\n".join(differences(Path(first), Path(second), (name, other))) or 0)
