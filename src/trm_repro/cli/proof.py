"""Verbs of ``provenance/`` and ``report/``: manifest, statement, verify, compare, report, attest."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trm_repro.provenance.keyless import Signatory

Verbs = argparse._SubParsersAction  # argparse has no public name for it


def register(verbs: Verbs[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    _register_for_steps(verbs)
    _register_for_readers(verbs)


def _register_for_steps(verbs: Verbs[argparse.ArgumentParser]) -> None:
    checkpoint = verbs.add_parser("checkpoint", help="the checkpoint with the highest step in a folder")
    checkpoint.add_argument("folder", type=Path)
    checkpoint.set_defaults(handler=_checkpoint)
    commands = verbs.add_parser("commands", help="the commands of the run in force, as they were run")
    commands.set_defaults(handler=_commands)
    manifest = verbs.add_parser("manifest", help="write the manifest of the run in force; the knobs' defaults on stdin")
    manifest.add_argument("output", type=Path)
    manifest.set_defaults(handler=_manifest)
    statement = verbs.add_parser("statement", help="write and sign the in-toto statement of a manifest")
    actions = statement.add_subparsers(metavar="VERB", required=True)
    write = actions.add_parser("write", help="write statement.json beside a manifest")
    write.add_argument("manifest", type=Path)
    write.set_defaults(handler=_statement_write)
    sign = actions.add_parser("sign", help="sign it: statement.json.sig, or statement.json.sigstore.json")
    sign.add_argument("statement", type=Path)
    way = sign.add_mutually_exclusive_group(required=True)
    way.add_argument("--key", type=Path, help="a private SSH key, or a public one whose agent is running")
    way.add_argument("--sigstore", action="store_true", help="the identity of this CI job, or of a browser's sign-in")
    _add_instance(sign)
    sign.set_defaults(handler=_statement_sign)
    artifacts = verbs.add_parser("artifacts", help="arrange artifacts/RUN_NAME so that a person finds things")
    artifacts.add_argument("manifest", type=Path)
    artifacts.set_defaults(handler=_artifacts)
    checklist = verbs.add_parser("checklist", help="the seed's checklist, from a run's manifest")
    checklist.add_argument("manifest", type=Path)
    checklist.set_defaults(handler=_checklist)
    summary = verbs.add_parser("summary", help="what a finished run did, its scores, and what to do next")
    summary.set_defaults(handler=_summary)


def _register_for_readers(verbs: Verbs[argparse.ArgumentParser]) -> None:
    verify = verbs.add_parser("verify", help="check a bundle: VERIFIED (exit 0), ALTERED (1) or CANNOT TELL (3)")
    verify.add_argument("bundle", type=Path, help="a folder, or a zip or tar archive of one")
    _add_signers(verify)
    verify.add_argument("--attestation", type=Path, metavar="FOLDER", help="it must be the bundle that this attests")
    verify.set_defaults(handler=_verify)
    compare = verbs.add_parser("compare", help="two runs side by side: bit-identical, within tolerance, or what else")
    for name in ("a", "b"):
        compare.add_argument(name, type=Path, metavar=name.upper(), help="a bundle, artifacts/RUN_NAME, or a manifest")
    compare.set_defaults(handler=_compare)
    attest = verbs.add_parser("attest", help="write the committable record of a verified bundle")
    attest.add_argument("bundle", type=Path)
    attest.add_argument("--by", required=True, help="who attests, as it is to be read: a name or an address")
    attest.add_argument("--note", default="", help="what a reader should know, such as that it is a rehearsal")
    attest.add_argument("--report", type=Path, metavar="FILE", help="the run's report.md")
    _add_signers(attest)
    attest.add_argument("--output", type=Path, default=Path("attestations"), help="default: %(default)s")
    attest.set_defaults(handler=_attest)
    attestations = verbs.add_parser("attestations", help="check all attestations and print their table")
    attestations.add_argument("folder", type=Path, nargs="?", default=Path("attestations"))
    attestations.add_argument("--into", type=Path, metavar="README", help="write it between the marks of this file")
    attestations.set_defaults(handler=_attestations)
    report = verbs.add_parser("report", help="write report.html and report.md of the run in force, finished or not")
    report.add_argument("--output", type=Path, metavar="FOLDER", help="default: artifacts/RUN_NAME")
    report.add_argument(
        "--manifest", type=Path, help="default: the run's own if it is finished, else what is known by now"
    )
    report.set_defaults(handler=_report)


def _add_signers(verb: argparse.ArgumentParser) -> None:
    """Who must have signed the statement."""
    verb.add_argument("--signers", type=Path, metavar="FILE", help="it must be signed by one of these (ssh-keygen(1))")
    verb.add_argument("--identity", default="", help="it must be signed with sigstore by this address or workflow …")
    verb.add_argument("--issuer", default="", metavar="URL", help="… for which this issuer vouches")
    _add_instance(verb)


def _add_instance(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--trust-config", type=Path, metavar="FILE", help="another sigstore: its client trust configuration"
    )


def _expected(arguments: argparse.Namespace) -> Signatory:
    from trm_repro.errors import UsageError
    from trm_repro.provenance.keyless import Signatory

    if bool(arguments.identity) != bool(arguments.issuer):
        raise UsageError("--identity and --issuer go together: anybody can call himself anything somewhere")
    return Signatory(arguments.identity, arguments.issuer, arguments.trust_config)


def _checkpoint(arguments: argparse.Namespace) -> None:
    from trm_repro.runs.checkpoints import final_checkpoint

    print(final_checkpoint(arguments.folder))


def _manifest(arguments: argparse.Namespace) -> None:
    from trm_repro.files import write_json

    write_json(arguments.output, _this_manifest())


def _this_manifest() -> dict[str, Any]:
    """The manifest of the run in force; the knobs' defaults on stdin."""
    from trm_repro.cli.run import RECIPES, this_run
    from trm_repro.provenance.manifest import build_manifest
    from trm_repro.recipes.read import read_recipe

    run = this_run()
    defaults = {} if sys.stdin.isatty() else dict(line.split("=", 1) for line in sys.stdin.read().splitlines())
    knobs = {name: (os.environ.get(name, ""), default) for name, default in defaults.items()}
    return build_manifest(run, read_recipe(RECIPES, run.recipe), work=Path(os.environ["TRM_DIR"]), knobs=knobs)


def _statement_write(arguments: argparse.Namespace) -> None:
    from trm_repro.files import write_bytes
    from trm_repro.provenance.statement import FILE, make_statement

    path = arguments.manifest.with_name(FILE)
    write_bytes(path, make_statement(arguments.manifest.read_bytes()))
    print(path)


def _statement_sign(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance import keyless, signature

    if arguments.sigstore:
        print(keyless.sign(arguments.statement, arguments.trust_config))
    else:
        print(signature.sign(arguments.statement, arguments.key))


def _locate(path: str) -> Path:
    """The file that a path of a manifest means, from the root of the repository."""
    from trm_repro.provenance.scrub import locate

    return locate(path, Path.cwd(), Path(os.environ["TRM_DIR"]))


def _artifacts(arguments: argparse.Namespace) -> None:
    from trm_repro.files import read_json
    from trm_repro.provenance.arrange import arrange

    for place in arrange(arguments.manifest.parent, read_json(arguments.manifest), _locate):
        print(arguments.manifest.parent / place)


def _checklist(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import this_run
    from trm_repro.files import read_json
    from trm_repro.provenance.checklist import checklist
    from trm_repro.runs.stamps import read_stamp

    published = read_stamp(this_run().path("07-publish"))
    for box in checklist(read_json(arguments.manifest), _locate, published.said if published else ""):
        print(box)


def _commands(arguments: argparse.Namespace) -> None:
    import shlex

    from trm_repro.cli.run import this_run
    from trm_repro.runs.stamps import last_attempts

    for entry in last_attempts(this_run(), "commands.jsonl"):
        print(f"# {entry['step']}, in {entry['cwd']}, exit {entry['exit_code']}\n{shlex.join(entry['argv'])}")


def _summary(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import this_run
    from trm_repro.runs.summary import summary

    print(summary(this_run(), _locate))


def _verify(arguments: argparse.Namespace) -> int:
    from trm_repro.provenance.verify import verify

    verdict = verify(
        arguments.bundle,
        signers=arguments.signers,
        expected=_expected(arguments),
        attestation=arguments.attestation,
    )
    print(verdict)
    return verdict.exit_code


def _compare(arguments: argparse.Namespace) -> int:
    from trm_repro.provenance.compare import compare, read_run

    comparison = compare(read_run(arguments.a), read_run(arguments.b))
    print(comparison)
    return comparison.exit_code


def _attest(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.attest import attest

    report = arguments.report.read_text() if arguments.report else ""
    print(
        attest(
            arguments.bundle,
            arguments.output,
            by=arguments.by,
            note=arguments.note,
            report=report,
            signers=arguments.signers,
            expected=_expected(arguments),
        )
    )


def _attestations(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.attest import put_table, read_all, table

    text = table(read_all(arguments.folder))
    if arguments.into:
        put_table(arguments.into, text)
    else:
        print(text)


def _report(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.run import this_run
    from trm_repro.files import read_json, write_text
    from trm_repro.report.facts import gather
    from trm_repro.report.page import page
    from trm_repro.report.text import markdown
    from trm_repro.runs.stamps import read_stamp
    from trm_repro.runs.status import standing

    run = this_run()
    artifacts = run.repository / "artifacts" / run.name
    verdict = (arguments.manifest.parent if arguments.manifest else artifacts) / "verdict.json"
    state = ""
    if arguments.manifest or read_stamp(run.path("06-verify")):
        manifest = read_json(arguments.manifest or artifacts / "manifest.json")
    else:
        manifest = _this_manifest()
        state = standing(run)

    facts = gather(
        manifest, _locate, state=state, verdict=read_json(verdict) if verdict.exists() and not state else None
    )
    folder = arguments.output or artifacts
    for name, text in (("report.html", page(facts)), ("report.md", markdown(facts))):
        write_text(folder / name, text)
        print(folder / name)
