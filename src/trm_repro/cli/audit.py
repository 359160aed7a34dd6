"""The verb ``audit``: what somebody published of a TRM, held against what its files show."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs

ARCHIVE = re.compile(r"(?<!\.pth)(?<!\.pt)\.(?:zip|tar|tgz|tar\.(?:gz|bz2|xz|zst))$", re.IGNORECASE)
CLONES = ("TinyRecursiveModels", "Trelis", "alphaXiv", "NVARC")  # below upstream/, where this repository has them


def register(verbs: Verbs) -> None:
    """Adds the verb to the parser."""
    parser = verbs.add_parser(
        "audit",
        help="is a published TRM what it says? AGREES (exit 0), CONTRADICTS (1), CANNOT TELL (3)",
        description="One page of claim, found and verdict for anybody's TRM: its files and their known digests, its "
        "configuration against tensors and recipes, its step, its puzzle table, its sources, its submission scored again, the "
        "numbers that are claimed; and by name what cannot be known. Nothing of it is run. Exit 0: all that is claimed agrees; "
        "1: something contradicts; 3: something that is claimed cannot be told.",
    )
    parser.add_argument(
        "source",
        help="a folder (of a run, a bundle, a repository), a file, hf:owner/name[/place][@revision], kaggle:owner/slug",
    )
    parser.add_argument(
        "--claim",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a number that is claimed, such as pass@2=0.078 or 'pass@1 per test input=5%%'; recipe=NAME: that it is a run "
        "of that recipe",
    )
    parser.add_argument(
        "--probe",
        type=Path,
        metavar="DATASET",
        help="find out its cycles, with the dataset it was trained on (PyTorch, minutes)",
    )
    parser.add_argument("--sample", type=int, default=64, metavar="N", help="pairs of the probe (default: %(default)s)")
    parser.add_argument(
        "--dataset", type=Path, metavar="DIR", help="the dataset it was trained on: its steps, its test tasks"
    )
    parser.add_argument(
        "--tasks", metavar="FILE", help="the tasks that the submission answers (default: the version it fits)"
    )
    parser.add_argument(
        "--solutions", type=Path, metavar="FILE", help="their answers, where the tasks do not hold them"
    )
    parser.add_argument(
        "--upstream",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a clone of an upstream, for its sources",
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the page there, too")
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="FILE", help="print the page as JSON, or write it to FILE"
    )
    parser.set_defaults(handler=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from trm_repro.audit.audit import Request, audit
    from trm_repro.audit.claims import said
    from trm_repro.audit.page import worst
    from trm_repro.errors import UsageError
    from trm_repro.files import json_text, write_text
    from trm_repro.provenance.verify import opened

    if arguments.solutions and not arguments.tasks:
        raise UsageError("--solutions goes with --tasks", hint="a version has its own answers")
    if arguments.sample < 1:
        raise UsageError(f"--sample is {arguments.sample}; it must be at least 1")
    said(arguments.claim)  # before anything is downloaded
    place, source = arguments.source, arguments.source
    if source.partition(":")[0] in ("hf", "kaggle"):
        from trm_repro.publish.fetch import download

        found, revision = download(source, Path(".repro/audit"))
        place, source = str(found), f"{source} ({revision})"
    request = Request(
        claims=arguments.claim,
        probe=arguments.probe,
        dataset=arguments.dataset,
        pairs=arguments.sample,
        tasks=arguments.tasks,
        solutions=arguments.solutions,
        clones=[*arguments.upstream, *_clones()],
    )
    if ARCHIVE.search(place) and Path(place).is_file():
        with opened(Path(place)) as folder:
            pages = audit(folder, source, request)
    else:
        pages = audit(place, source, request)
    values = [page.as_json() for page in pages]
    text = json_text(values[0] if len(values) == 1 else values)
    if arguments.markdown:
        write_text(arguments.markdown, "\n".join(page.markdown() for page in pages))
    if arguments.json and arguments.json != "-":
        write_text(Path(arguments.json), text)
    if arguments.json == "-":
        print(text, end="")
    else:
        print("\n\n".join(map(str, pages)))
    for path in filter(None, (arguments.markdown, arguments.json if arguments.json != "-" else None)):
        print(path, file=sys.stderr)
    return worst(pages)


def _clones() -> list[Path]:
    """Clones of upstreams where this repository has them: TRM_DIR, and upstream/."""
    from trm_repro.cli.common import knob

    folder = knob("TRM_DIR")
    return [Path(folder)] * bool(folder) + [Path("upstream", name) for name in CLONES]
