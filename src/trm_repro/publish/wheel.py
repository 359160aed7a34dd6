"""Our own wheel, written from the installed package.

Competition notebooks on Kaggle have no internet, so the code travels with the weights. The package is pure Python; its
wheel is a zip of the sources and the installed metadata (PEP 427). Stored, not compressed, with one fixed date: the
same sources give the same bytes, whatever the machine's zlib.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import trm_repro
from trm_repro.files import staged

EPOCH = (1980, 1, 1, 0, 0, 0)  # the first date a zip can hold


def write_wheel(folder: Path) -> Path:
    """Writes ``trm_repro-VERSION-py3-none-any.whl`` into ``folder``; returns its path."""
    version = trm_repro.__version__
    info = f"trm_repro-{version}.dist-info"
    root = Path(trm_repro.__file__).parent
    files = {
        f"trm_repro/{path.relative_to(root).as_posix()}": path.read_bytes()
        for path in sorted(Path(folder, name) for folder, _, names in os.walk(root, followlinks=True) for name in names)
        if "__pycache__" not in path.parts
    }
    installed = distribution("trm-repro")
    files[f"{info}/METADATA"] = (installed.read_text("METADATA") or installed.read_text("PKG-INFO") or "").encode()
    files[f"{info}/WHEEL"] = b"Wheel-Version: 1.0\nGenerator: trm-repro\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = (installed.read_text("entry_points.txt") or "").encode()
    files[f"{info}/RECORD"] = _record(files, f"{info}/RECORD")
    path = folder / f"trm_repro-{version}-py3-none-any.whl"
    with staged(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, data)
    return path


def _record(files: dict[str, bytes], itself: str) -> bytes:
    """The wheel's RECORD: every file with its digest and size, itself without."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        rows.writerow([name, f"sha256={digest}", len(data)])
    rows.writerow([itself, "", ""])
    return text.getvalue().encode()
