"""Verbs of ``provenance/``: verify, compare, attest, attestations, statement."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.cli.parse import add_json, print_json
from trm_repro.errors import UsageError

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs
    from trm_repro.provenance.keyless import Signatory


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    verify = verbs.add_parser(
        "verify", help="check a bundle: VERIFIED or CONSISTENT (exit 0), ALTERED (1), CANNOT TELL (3)"
    )
    verify.add_argument("bundle", type=Path, help="a folder, or a zip or tar archive of one")
    _add_signers(verify)
    verify.add_argument("--attestation", type=Path, metavar="FOLDER", help="it must be the bundle that this attests")
    add_json(verify)
    verify.set_defaults(handler=_verify)
    compare = verbs.add_parser(
        "compare", help="runs side by side: bit-identical, within tolerance, too little to tell, …"
    )
    compare.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="two or more: a bundle, artifacts/RUN_NAME, or a manifest"
    )
    add_json(compare)
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


def _add_signers(verb: argparse.ArgumentParser) -> None:
    """Who must have signed the statement."""
    verb.add_argument("--signers", type=Path, metavar="FILE", help="it must be signed by one of these (ssh-keygen(1))")
    verb.add_argument("--model-key", type=Path, metavar="FILE", help="its model.sig must be made with this public key")
    verb.add_argument("--identity", default="", help="it must be signed with sigstore by this address or workflow …")
    verb.add_argument("--issuer", default="", metavar="URL", help="… as this issuer confirms")
    _add_instance(verb)


def _add_instance(verb: argparse.ArgumentParser) -> None:
    verb.add_argument(
        "--trust-config", type=Path, metavar="FILE", help="another sigstore: its client trust configuration"
    )


def _expected(arguments: argparse.Namespace) -> Signatory:
    from trm_repro.provenance.keyless import Signatory

    if bool(arguments.identity) != bool(arguments.issuer):
        raise UsageError("--identity and --issuer go together: anybody can call himself anything somewhere")
    return Signatory(arguments.identity, arguments.issuer, arguments.trust_config)


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


def _verify(arguments: argparse.Namespace) -> int:
    from trm_repro.provenance.verify import verify

    if re.match(r"[a-z][a-z0-9+.-]+:/|(kaggle|hf):", str(arguments.bundle)) and not arguments.bundle.exists():
        # not said again: there may be a password in it
        raise UsageError(
            "an address is given, and what is verified is what was downloaded",
            hint="trm-repro fetch-weights kaggle:… or hf:… brings a bundle here; then verify its folder",
        )
    verdict = verify(
        arguments.bundle,
        signers=arguments.signers,
        expected=_expected(arguments),
        model_key=arguments.model_key,
        attestation=arguments.attestation,
    )
    print_json(verdict.as_json()) if arguments.json else print(verdict)
    return verdict.exit_code


def _compare(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from trm_repro.provenance.compare import compare, read_run

    comparison = compare(*map(read_run, arguments.runs))
    print_json(asdict(comparison)) if arguments.json else print(comparison)
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
            model_key=arguments.model_key,
        )
    )


def _attestations(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.attest import put_table, read_all, table

    text = table(read_all(arguments.folder))
    if arguments.into:
        put_table(arguments.into, text)
    else:
        print(text)
