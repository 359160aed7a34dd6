"""The statement: a run's claim as an in-toto Statement v1 with SLSA provenance v1.

It is a function of the manifest's bytes and of nothing else, in canonical JSON (RFC 8785), so that whoever has the
manifest can make it again and compare byte by byte. docs/format.md documents the build type. It claims no level: a
statement that the maker of a run makes of himself is SLSA build level 1, whoever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import rfc8785

from trm_repro.digests import digest_bytes
from trm_repro.provenance.schema import parse_manifest

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:trm-repro:run:v1"
BUILDER = "urn:trm-repro:tool:self-made"
FILE = "statement.json"
SIGNED = (FILE, f"{FILE}.sig", f"{FILE}.sigstore.json")  # and what may lie beside it, by SSH key and by sigstore
SUBJECTS = ("final-checkpoint", "dataset", "identifiers", "test-puzzles", "submission")


def make_statement(manifest_bytes: bytes) -> bytes:
    """The statement of a manifest, as the bytes of ``statement.json``.

    Raises:
        MissingPrerequisite, InvariantBroken: as :func:`~trm_repro.provenance.schema.parse_manifest`.
    """
    manifest = parse_manifest(manifest_bytes)
    run, tool = manifest["run"], manifest["tool"]
    itself: dict[str, Any] = {"name": "manifest.json", "digest": {"sha256": digest_bytes(manifest_bytes).sha256}}
    return rfc8785.dumps(
        {
            "_type": TYPE,
            "subject": [_file(entry) for entry in manifest["outputs"] if entry["role"] in SUBJECTS],
            "predicateType": PREDICATE,
            "predicate": {
                "buildDefinition": {
                    "buildType": BUILD_TYPE,
                    "externalParameters": {"recipe": manifest["recipe"], "knobs": _changed(manifest["knobs"])},
                    "internalParameters": {
                        "commands": [
                            {key: entry[key] for key in ("step", "argv", "cwd", "env")}
                            for entry in manifest["commands"]
                        ],
                        "seeds": manifest["seeds"],
                        "overrides": sorted(
                            {entry["guard"] for entry in manifest["guards"] if entry["outcome"] == "overridden"}
                        ),
                        "deviations": [entry["id"] for entry in manifest["deviations"]],
                        "faithful": manifest["faithful"],
                    },
                    "resolvedDependencies": _dependencies(manifest),
                },
                "runDetails": {
                    "builder": {
                        "id": BUILDER,
                        "version": {"trm-repro": tool["version"], "commit": tool["commit"]},
                    },
                    "metadata": {
                        "invocationId": f"{run['name']}@{run['started']}",
                        "startedOn": run["started"],
                        **({"finishedOn": run["finished"]} if run["finished"] else {}),
                    },
                    "byproducts": [
                        itself,
                        *(_file(entry) for entry in manifest["outputs"] if entry["role"] not in SUBJECTS),
                    ],
                },
            },
        }
    )


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": entry["path"], "digest": {"sha256": entry["sha256"]}}


def _changed(knobs: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {name: knob["value"] for name, knob in knobs.items() if knob["value"] != knob["default"]}


def _dependencies(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    dependencies: list[dict[str, Any]] = []
    if upstream := manifest["upstream"]:
        digest = {"gitCommit": upstream["commit"], "gitTree": upstream["tree"]}
        dependencies.append(
            {"name": "upstream", "uri": f"git+{upstream['url']}@{upstream['commit']}", "digest": digest}
        )
    dependencies += [_file(entry) for entry in manifest["inputs"]]
    trained = manifest["versions"]["training"] or manifest["versions"]["tool"]
    for entry in trained["distributions"]:
        package = {"name": entry["name"], "uri": f"pkg:pypi/{entry['name'].lower()}@{entry['version']}"}
        annotations = {"annotations": {"recordSha256": entry["record"]}} if entry["record"] else {}
        dependencies.append({**package, **annotations})
    return dependencies
