"""Verbs of ``publish/``: package, upload, fetch, notebook."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds this room's verbs to the parser."""
    publish = verbs.add_parser("publish", help="package a run and publish it")
    actions = publish.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_names(actions)
    _add_package(actions)


def _knob(name: str, default: str = "") -> str:
    """A knob's value in the environment."""
    return os.environ.get(name, "") or default


def _add_names(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("names", help="print and check the Kaggle title and slug of a run")
    parser.add_argument("--run-name", required=True)
    _add_owner(parser)
    parser.add_argument("--target-dataset", default=_knob("TARGET_DATASET", "arc2"))
    parser.set_defaults(handler=_names)


def _add_owner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--slug", default=_knob("KAGGLE_DATASET_SLUG"), help="default: $KAGGLE_DATASET_SLUG")
    parser.add_argument("--username", default=_knob("KAGGLE_USERNAME"), help="default: $KAGGLE_USERNAME")


def _names(arguments: argparse.Namespace) -> None:
    from trm_repro.publish.names import names

    called = names(arguments.run_name, slug=arguments.slug, owner=arguments.username, target=arguments.target_dataset)
    print(f"title={shlex.quote(called.title)}")
    print(f"slug={shlex.quote(called.slug)}")


def _add_package(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser("package", help="make the flat folder that is published")
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--repository", type=Path, default=Path(), help="what the manifest's paths start from")
    parser.add_argument("--trm-dir", type=Path, default=None, help="what $TRM_DIR/ in its paths stands for")
    _add_owner(parser)
    parser.add_argument("--license", default=_knob("PUBLISH_LICENSE", "cc-by-4.0"), help="default: $PUBLISH_LICENSE")
    parser.set_defaults(handler=_package)
    check = actions.add_parser("validate", help="check a bundle, every byte included")
    check.add_argument("bundle", type=Path)
    check.set_defaults(handler=_validate)


def _package(arguments: argparse.Namespace) -> None:
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
    print(bundle.folder)


def _validate(arguments: argparse.Namespace) -> None:
    from trm_repro.publish.bundle import read_bundle

    bundle = read_bundle(arguments.bundle)
    print(f"{bundle.folder}: a whole bundle of {len(bundle.digests)} files, {bundle.bytes} bytes, for {bundle.id}")
