"""What pip leaves of distributions, for the stubs: install.py PREFIX [LOCK…]."""

import base64
import hashlib
import re
import sys
from pathlib import Path


def main(prefix, *locks):
    site = Path(prefix, "lib/python3.10/site-packages")
    site.mkdir(parents=True, exist_ok=True)
    if not locks:  # what comes with an environment
        leave(site, "pip", "23.0.1", [path for path in sorted(Path(prefix, "bin").iterdir()) if not path.is_symlink()])
    for lock in locks:
        for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", Path(lock).read_text(), re.MULTILINE):
            leave(site, name, version, [])


def leave(site, name, version, programs):
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n\nText: of others\n")
    (site / f"{name.replace('-', '_')}.py").write_text(f"version = {version!r}\n")
    rows = [row(f"../../../bin/{path.name}", path) for path in programs]
    rows += [row(path.relative_to(site), path) for path in (info / "METADATA", site / f"{name.replace('-', '_')}.py")]
    (info / "RECORD").write_text("".join([*rows, f"{info.name}/RECORD,,\n"]))


def row(name, path):
    data = path.read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(data)}\n"


main(*sys.argv[1:])
