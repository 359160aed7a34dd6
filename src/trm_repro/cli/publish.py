"""Verbs of ``publish/`` and ``notebook/``: names, package, upload; the notebook."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from trm_repro.cli.common import checked, knob
from trm_repro.errors import InvariantBroken, UsageError

if TYPE_CHECKING:
    from trm_repro.cli.common import Verbs
    from trm_repro.provenance.bundle import Bundle
    from trm_repro.publish.receipt import Publication


def register(verbs: Verbs) -> None:
    """Adds this room's verbs to the parser."""
    publish = verbs.add_parser("publish", help="package a run and publish it")
    actions = publish.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_names(actions)
    _add_package(actions)
    _add_kaggle(actions)
    _add_huggingface(actions)
    notebook = verbs.add_parser("notebook", help="the notebook that uses a bundle on Kaggle")
    _add_notebook(notebook.add_subparsers(dest="action", metavar="ACTION", required=True))


def _add_names(actions: Verbs) -> None:
    parser = actions.add_parser("names", help="print and check the Kaggle title and slug of a run")
    parser.add_argument("--run-name", required=True)
    _add_owner(parser)
    parser.add_argument("--target-dataset", default=knob("TARGET_DATASET", "arc2"))
    parser.set_defaults(handler=_names)


def _add_owner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slug", default=knob("KAGGLE_DATASET_SLUG"), help="default: $KAGGLE_DATASET_SLUG")
    parser.add_argument("--username", default=knob("KAGGLE_USERNAME"), help="default: $KAGGLE_USERNAME")


def _names(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.names import names

    called = names(arguments.run_name, slug=arguments.slug, owner=arguments.username, target=arguments.target_dataset)
    print(f"title={shlex.quote(called.title)}")
    print(f"slug={shlex.quote(called.slug)}")


def _add_package(actions: Verbs) -> None:
    parser = actions.add_parser("package", help="make the flat folder that is published")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repository", type=Path, default=Path(), help="what the manifest's paths start from")
    parser.add_argument("--trm-dir", type=Path, default=None, help="what $TRM_DIR/ in its paths stands for")
    _add_owner(parser)
    parser.add_argument("--license", default=knob("PUBLISH_LICENSE", "cc-by-4.0"), help="default: $PUBLISH_LICENSE")
    parser.set_defaults(handler=_package, extra="publish")
    parser.add_argument(
        "--signing-key",
        type=Path,
        default=knob("SIGNING_KEY") or None,
        help="sign its files with it, if it is an elliptic-curve key in PEM; default: $SIGNING_KEY",
    )
    sign = actions.add_parser("sign", help="sign a bundle's files as OpenSSF model signing has it: model.sig")
    sign.add_argument("bundle", type=Path)
    way = sign.add_mutually_exclusive_group(required=True)
    way.add_argument("--key", type=Path, help="an elliptic-curve private key in PEM (ssh-keygen -t ecdsa -m PEM)")
    way.add_argument("--sigstore", action="store_true", help="the identity of this CI job, or of a browser's sign-in")
    sign.add_argument(
        "--trust-config", type=Path, metavar="FILE", help="another sigstore: its client trust configuration"
    )
    sign.set_defaults(handler=_sign)
    check = actions.add_parser("validate", help="check a bundle, every byte included")
    check.add_argument("bundle", type=Path)
    check.set_defaults(handler=_validate)


def _package(arguments: argparse.Namespace) -> None:
    import huggingface_hub  # noqa: F401
    import matplotlib  # noqa: F401  what comes last is missing at once, and not when gigabytes are hashed

    from trm_repro.provenance.openssf import can_sign
    from trm_repro.publish.package import package

    bundle = package(
        arguments.manifest,
        arguments.output,
        repository=arguments.repository,
        trm_dir=arguments.trm_dir,
        owner=arguments.username,
        slug=arguments.slug,
        license=arguments.license,
    )
    if arguments.signing_key and can_sign(arguments.signing_key):
        _signed(bundle.folder, arguments.signing_key, None)
    print(bundle.folder)


def _sign(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.bundle import read_bundle

    read_bundle(arguments.bundle)
    print(_signed(arguments.bundle, arguments.key, arguments.trust_config))


def _signed(folder: Path, key: Path | None, instance: Path | None) -> Path:
    """Signs a whole bundle, and lists the signature."""
    from trm_repro.provenance.bundle import write_sums
    from trm_repro.provenance.openssf import sign

    path = sign(folder, key, instance)
    write_sums(folder)
    return path


def _validate(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.bundle import read_bundle

    bundle = read_bundle(arguments.bundle)
    print(f"{bundle.folder}: a whole bundle of {len(bundle.digests)} files, {bundle.bytes} bytes, for {bundle.id}")


def _add_kaggle(actions: Verbs) -> None:
    parser = actions.add_parser(
        "credentials", help="check that there are Kaggle credentials, private, and KAGGLE_USERNAME's"
    )
    parser.add_argument("--remote", action="store_true", help="sign in, too")
    parser.set_defaults(handler=_credentials)
    parser = actions.add_parser("kaggle", help="publish a bundle as a Kaggle dataset or model")
    _add_upload(parser)
    parser.add_argument(
        "--model", action="store_true", help="as a model (owner/slug/pyTorch/default), not as a dataset"
    )
    parser.set_defaults(handler=_kaggle)


def _add_upload(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--receipt", type=Path, help="write there, as JSON, what was published and compared")


def _switch(name: str) -> bool:
    """A knob that is 1 or 0."""
    return checked(name, "0") == "1"


def _read_for_upload(arguments: argparse.Namespace) -> Bundle:
    """The bundle, if it may be published."""
    from trm_repro.provenance.bundle import read_bundle

    bundle = read_bundle(arguments.bundle)
    if not bundle.faithful and not _switch("PUBLISH_UNFAITHFUL"):
        raise InvariantBroken(
            f"run {bundle.manifest['run']['name']} is not faithful: {'; '.join(bundle.manifest['reasons'])}",
            hint="to publish it all the same (its card says so in the first line), set PUBLISH_UNFAITHFUL=1",
        )
    return bundle


def _credentials(arguments: argparse.Namespace) -> None:
    from trm_repro.publish.credentials import check_owner, find_credentials

    owner = knob("KAGGLE_USERNAME")
    credentials = find_credentials(os.environ, Path.home())
    check_owner(credentials, owner)
    if arguments.remote:
        from trm_repro.publish.kaggle_client import sign_in

        sign_in(credentials, owner)
    print(f"{credentials.kind}: {'accepted by Kaggle' if arguments.remote else 'found'}, for {owner}")


def _kaggle(arguments: argparse.Namespace) -> None:
    from trm_repro.provenance.names import normal_slug
    from trm_repro.publish.credentials import check_owner, find_credentials
    from trm_repro.publish.kaggle import publish
    from trm_repro.publish.kaggle_client import sign_in
    from trm_repro.publish.kaggle_model import KaggleModels

    public = _switch("KAGGLE_PUBLIC")
    verify = checked("PUBLISH_VERIFY", "sizes")
    bundle = _read_for_upload(arguments)
    owner, slug = knob("KAGGLE_USERNAME"), normal_slug(knob("KAGGLE_DATASET_SLUG"))
    credentials = find_credentials(os.environ, Path.home())
    check_owner(credentials, owner)
    if bundle.id != f"{owner}/{slug or bundle.id.partition('/')[2]}":
        raise InvariantBroken(
            f"the bundle is for {bundle.id}, but KAGGLE_USERNAME and KAGGLE_DATASET_SLUG say {owner}/{slug}",
            hint="package the run again",
        )
    published = publish(
        sign_in(credentials, owner, KaggleModels if arguments.model else None),
        bundle,
        public=public,
        download=verify == "download",
        patience=float(checked("PUBLISH_TIMEOUT", "3600")),
    )
    _tell(published, bundle, arguments.receipt)


def _tell(published: Publication, bundle: Bundle, receipt: Path | None) -> None:
    """Says where the bundle is, and writes the receipt."""
    from trm_repro.publish.receipt import write_receipt

    if receipt:
        write_receipt(receipt, published, bundle)
    if not published.changed:
        print(f"nothing to do: {published.where} holds exactly this bundle", file=sys.stderr)
    print(f"{published.url} revision {published.revision}, compared by {published.compared}")


def _add_huggingface(actions: Verbs) -> None:
    parser = actions.add_parser("hf", help="publish a bundle as a model on the Hugging Face hub")
    _add_upload(parser)
    parser.add_argument("--repo-id", default=knob("HF_REPO_ID"), help="owner/name; default: $HF_REPO_ID")
    parser.add_argument(
        "--benchmark",
        default=knob("HF_BENCHMARK"),
        help="owner/dataset:task_id on the hub, on whose leaderboard the number is entered; default: $HF_BENCHMARK",
    )
    parser.set_defaults(handler=_huggingface)


def _huggingface(arguments: argparse.Namespace) -> None:
    from trm_repro.publish.huggingface import publish

    if not arguments.repo_id:
        raise UsageError("there is no repository", hint="set HF_REPO_ID to owner/name, or say --repo-id")
    public = _switch("HF_PUBLIC")
    bundle = _read_for_upload(arguments)
    _tell(publish(bundle, arguments.repo_id, public=public, benchmark=arguments.benchmark), bundle, arguments.receipt)


def _add_notebook(actions: Verbs) -> None:
    parser = actions.add_parser("write", help="write it, and kernel-metadata.json beside it")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.ipynb")
    parser.add_argument(
        "--competition",
        default=knob("KAGGLE_COMPETITION"),
        metavar="SLUG",
        help="which one it is for, as in its address; default: $KAGGLE_COMPETITION, or the one that is open",
    )
    parser.set_defaults(handler=_write_notebook)


def _write_notebook(arguments: argparse.Namespace) -> None:
    from trm_repro.cli.knobs import RULES
    from trm_repro.notebook.write import COMPETITION, write_notebook
    from trm_repro.provenance.bundle import read_bundle

    competition = arguments.competition or COMPETITION
    if should := RULES["KAGGLE_COMPETITION"](competition):
        raise UsageError(f"the competition is {competition!r}", hint=should)
    write_notebook(read_bundle(arguments.bundle), arguments.output, competition)
    print(arguments.output)
