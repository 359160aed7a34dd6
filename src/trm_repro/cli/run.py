"""Verbs about a run, the last one where none is named: status, watch, report, doctor."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trm_repro.cli.common import knobs_and_defaults, locate, take_knobs, this_recipe, this_run, trm_dir
from trm_repro.cli.doctor import doctor
from trm_repro.cli.parse import add_json, print_json

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    named = "The run is the last one that was worked on, or that of RUN_NAME=… or RECIPE=… in the environment."
    status = verbs.add_parser("status", help="where the last run stands, or that of RUN_NAME=…", epilog=named)
    add_json(status)
    status.set_defaults(handler=_status)
    watch = verbs.add_parser("watch", help="how far its training is, and how it goes", epilog=named)
    watch.add_argument("--once", action="store_true", help="print it once (as without a terminal)")
    watch.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="(default: %(default)s)")
    add_json(watch)
    watch.set_defaults(handler=_watch)
    report = verbs.add_parser("report", help="write its report.html and report.md, finished or not", epilog=named)
    report.add_argument("--output", type=Path, metavar="FOLDER", help="default: artifacts/RUN_NAME")
    report.add_argument(
        "--manifest", type=Path, help="default: the run's own if it is finished, else what is known by now"
    )
    report.set_defaults(handler=_report)
    page = verbs.add_parser("doctor", help="this machine and run on one page, for a bug report", epilog=named)
    add_json(page)
    page.set_defaults(handler=doctor)


def _status(arguments: argparse.Namespace) -> None:
    from trm_repro.runs.status import print_status, state

    take_knobs(arguments)
    run = this_run()
    print_json(state(run)) if arguments.json else print_status(run)


def _watch(arguments: argparse.Namespace) -> None:
    from trm_repro.training.state import Place
    from trm_repro.training.watch import as_json, watch

    take_knobs(arguments)
    place = Place.of(this_run(), this_recipe(), trm_dir())
    if arguments.json:
        print_json(as_json(place))
    else:
        watch(place, every=arguments.every, once=arguments.once)


def _report(arguments: argparse.Namespace) -> None:
    from trm_repro.files import read_bytes
    from trm_repro.provenance.manifest import build_manifest
    from trm_repro.provenance.schema import parse_manifest
    from trm_repro.runs.stamps import read_stamp
    from trm_repro.runs.status import standing

    take_knobs(arguments)
    run = this_run()
    artifacts = run.artifacts
    state = ""
    if arguments.manifest or read_stamp(run.path("06-verify")):
        manifest = parse_manifest(read_bytes(arguments.manifest or artifacts / "manifest.json"))
    else:
        work, knobs = trm_dir(), knobs_and_defaults()
        manifest = build_manifest(run, this_recipe(), work=work, knobs=knobs)
        state = standing(run)
    verdict = (arguments.manifest.parent if arguments.manifest else artifacts) / "verdict.json"
    for path in write_report(manifest, arguments.output or artifacts, verdict=verdict, state=state):
        print(path)


def write_report(manifest: Mapping[str, Any], folder: Path, *, verdict: Path, state: str = "") -> list[Path]:
    """Writes ``report.html`` and ``report.md`` into a folder; returns their paths.

    Args:
        manifest: the run's manifest.
        folder: where they go.
        verdict: step 6's ``verdict.json``; it is left out where it is not there, or belongs to an earlier attempt.
        state: where a run that is not finished stands.
    """
    from trm_repro.files import read_json, write_text
    from trm_repro.provenance.statement import SIGNED
    from trm_repro.report.facts import gather
    from trm_repro.report.origin import read_origin
    from trm_repro.report.page import page
    from trm_repro.report.text import markdown

    judged = read_json(verdict) if verdict.exists() and not state else None
    signatures = [name for name in SIGNED[1:] if (verdict.parent / name).is_file()]
    facts = gather(manifest, locate, state=state, verdict=judged, signatures=signatures)
    origin = read_origin(verdict.parent, manifest)
    texts = {folder / "report.html": page(facts, origin), folder / "report.md": markdown(facts, origin)}
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)
