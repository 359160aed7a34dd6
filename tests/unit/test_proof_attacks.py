"""Bundles that contradict themselves, claim what nobody can check, or cost too much: each attack went through once.

Whoever makes one computes every digest, the statement and ``faithful`` again, so that only what cannot be made up is left.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import resource
import shutil
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from proof_support import make_bundle, make_run

from trm_repro import archives
from trm_repro.errors import InvariantBroken
from trm_repro.files import parse_json, parse_yaml, read_json, write_bytes, write_json, write_text
from trm_repro.provenance.bundle import write_sums
from trm_repro.provenance.faithful import reasons
from trm_repro.provenance.statement import make_statement
from trm_repro.provenance.verify import ALTERED, CANNOT_TELL, CONSISTENT, Answer, verify
from trm_repro.recipes.bases import SHIPPED
from trm_repro.recipes.read import read_recipe
from trm_repro.weights.state import read_state
from trm_repro.weights.stored import read_content

MANY = 32 << 20  # bytes that a bomb unpacks to: as a gigabyte does, it hits a limit, which is made lower


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return make_bundle(make_run(root), root / "bundle")


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def forged(bundle: Path, change: Callable[[dict[str, Any]], object] | None = None) -> Answer:
    """The answer on a bundle in which everything that follows from the manifest follows from it again."""
    if change:
        manifest = read_json(bundle / "manifest.json")
        change(manifest)
        recipe = {"name": manifest["recipe"]["name"], **manifest["recipe"]["resolved"]}
        manifest["recipe"]["sha256"] = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
        manifest["reasons"] = reasons(manifest)
        manifest["faithful"] = not manifest["reasons"]
        write_json(bundle / "manifest.json", manifest)
        write_bytes(bundle / "statement.json", make_statement((bundle / "manifest.json").read_bytes()))
        card = (bundle / "README.md").read_text()
        if manifest["faithful"]:
            write_text(
                bundle / "README.md", card.replace("**NOT A FAITHFUL REPRODUCTION**", "**A faithful reproduction**")
            )
    write_sums(bundle)
    return verify(bundle)


def said(answer: Answer, check: str) -> tuple[str, str]:
    found = next(finding for finding in answer.findings if finding.check == check)
    return found.outcome, "\n".join(found.lines)


def drop(manifest: dict[str, Any], role: str) -> None:
    manifest["outputs"] = [entry for entry in manifest["outputs"] if entry["role"] != role]


def faithful(manifest: dict[str, Any]) -> None:
    """As if made from a clean tree by a recipe that calls itself faithful."""
    manifest["recipe"]["resolved"].update(faithful=True)
    manifest["tool"].update(clean=True, commit="0" * 40)
    train = manifest["recipe"]["resolved"]["train"]
    train["arguments"], train["scale"] = train["arguments"] + train["scale"], []


# ---- claims that nobody can check, by name ----


def test_a_score_without_its_submission(bundle: Path) -> None:
    (bundle / "submission.json").unlink()

    def change(manifest: dict[str, Any]) -> None:
        drop(manifest, "submission")
        manifest["metrics"].update({"ARC/pass@1": 0.98, "ARC/pass@2": 0.99, "ARC/pass@1000": 0.99})

    card = bundle / "README.md"
    write_text(card, card.read_text().replace("0.25", "0.98").replace("0.5\n", "0.99\n"))
    write_text(card, card.read_text().replace("25.000 %", "98.000 %").replace("50.000 %", "99.000 %"))
    answer = forged(bundle, change)
    assert answer.word == CANNOT_TELL and answer.exit_code == 3
    assert "ARC/pass@1 0.98, ARC/pass@2 0.99: there is no submission.json" in answer.headline


def test_a_test_set_that_nobody_knows(bundle: Path) -> None:
    def change(manifest: dict[str, Any]) -> None:
        for words in (manifest["recipe"]["resolved"]["dataset"]["arguments"], manifest["commands"][0]["argv"]):
            words[words.index("--test-set-name") + 1] = "evaluation9"

    answer = forged(bundle, change)
    assert answer.word == CANNOT_TELL
    assert "ARC/pass@2 0.5: the answers of the test set 'evaluation9' are not in this tool" in answer.headline


def test_a_recipe_about_a_number_that_no_bundle_proves(bundle: Path) -> None:
    answer = forged(bundle, lambda m: m["recipe"]["resolved"]["expected"].update(metric="all.exact_accuracy"))
    assert answer.word == CANNOT_TELL and "all.exact_accuracy 0.05: no bundle can prove it" in answer.headline
    assert answer.whole, "whoever made it may attest it"


def test_an_architecture_whose_tensors_nobody_knows(bundle: Path) -> None:
    config = (bundle / "all_config.yaml").read_text().replace("recursive_reasoning.trm@", "recursive_reasoning.other@")
    write_text(bundle / "all_config.yaml", config)
    outcome, lines = said(forged(bundle), "tensors")
    assert outcome == "unknown" and "the tensors of recursive_reasoning.other@" in lines


def test_a_recipe_of_the_tools_own_name_that_is_called_faithful(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rehearsal's name, the rehearsal's number, and `faithful: true`."""

    def change(manifest: dict[str, Any]) -> None:
        faithful(manifest)
        manifest["recipe"]["name"] = manifest["run"]["recipe"] = "arc2-rehearsal"
        manifest["commands"][1]["argv"] = manifest["commands"][1]["argv"]

    answer = forged(bundle, change)
    assert read_json(bundle / "manifest.json")["faithful"]
    assert answer.word == ALTERED
    assert said(answer, "recipe") == (
        "wrong",
        "manifest.json: its recipe arc2-rehearsal is called faithful, this tool's own of that name is not",
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("arc2-mine", "none of this tool's recipes"),
        ("arc2-paper", "has another"),
        ("../arc2-paper", "none of this tool's"),
    ],
)
def test_a_recipe_that_the_tool_does_not_have_is_nobodys_faithful_one(bundle: Path, name: str, why: str) -> None:
    def change(manifest: dict[str, Any]) -> None:
        faithful(manifest)
        manifest["recipe"]["name"] = manifest["run"]["recipe"] = name

    answer = forged(bundle, change)
    assert answer.word == CANNOT_TELL and "faithful is true: " in answer.headline and why in answer.headline


def test_a_recipe_of_the_tools_own_is_taken(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other way round: a faithful run of a recipe that is word for word the tool's own has that check."""
    own = read_recipe(SHIPPED, "arc2-paper").model_dump(exclude={"name"})

    def change(manifest: dict[str, Any]) -> None:
        manifest["recipe"] |= {"name": "arc2-paper", "resolved": own}
        manifest["run"] |= {"recipe": "arc2-paper", "engine": "upstream"}

    assert said(forged(bundle, change), "recipe") == ("ok", "this tool's own arc2-paper")


# ---- what contradicts itself ----


@pytest.mark.parametrize(
    ("check", "words", "change"),
    [
        ("outputs", "extra: submission.json: the manifest names no submission", lambda m: drop(m, "submission")),
        ("outputs", "extra: all_config.yaml", lambda m: drop(m, "config")),
        ("outputs", "extra: model.ckpt", lambda m: drop(m, "final-checkpoint")),
        ("manifest", "run.recipe is arc2-paper", lambda m: m["run"].update(recipe="arc2-paper")),
        ("manifest", "run.engine is upstream", lambda m: m["run"].update(engine="upstream")),
        ("manifest", "run.target_dataset is arc1", lambda m: m["run"].update(target_dataset="arc1")),
        ("manifest", "two digests", lambda m: m["outputs"].append({**m["outputs"][0], "sha256": "0" * 64})),
        (
            "manifest",
            "two checkpoints are called the final one",
            lambda m: m["outputs"].append(
                {**next(e for e in m["outputs"] if e["role"] == "final-checkpoint"), "path": "x"}
            ),
        ),
        ("steps", "leaves no checkpoints, and here is one", lambda m: _expected(m).update(checkpoints=False)),
        ("metrics", "all.accuracy is 1.7, and it is a share", lambda m: m["metrics"].update({"all.accuracy": 1.7})),
        ("metrics", "more attempts solve fewer", lambda m: m["metrics"].update({"ARC/pass@1000": 0.3})),
        (
            "card",
            "all.exact_accuracy is 0.05, the manifest",
            lambda m: m["metrics"].update({"all.exact_accuracy": 0.5}),
        ),
    ],
)
def test_a_manifest_that_says_two_things(bundle: Path, check: str, words: str, change: Any) -> None:
    answer = forged(bundle, change)
    outcome, lines = said(answer, check)
    assert answer.word == ALTERED and outcome == "wrong" and words in lines, str(answer)


def _expected(manifest: dict[str, Any]) -> dict[str, Any]:
    return dict.__getitem__(manifest["recipe"]["resolved"], "expected")


def test_a_card_that_claims_more(bundle: Path) -> None:
    text = (bundle / "README.md").read_text()
    for old, new in (
        ("| pass@2 per task | 50.000 % |", "| pass@2 per task | 99.000 % |"),
        ("| pass@2 per task | 50.000 % |", "|pass@2 per task|99.0%|"),
        ("| pass@2 per task | 50.000 % |", "  | `pass@2 per task` | **99,00 %** (right) |"),
        ("| pass@2 per task | 50.000 % |", "pass@2 per task | 0.99"),
        ("value: 0.5\n", "value: 0.99\n"),
    ):
        assert old in text
        write_text(bundle / "README.md", text.replace(old, new, 1))
        outcome, lines = said(forged(bundle), "card")
        assert outcome == "wrong" and "pass@2 per task is 0.99, the manifest says 0.5" in lines


def test_upstream_left_out_is_a_reason_not_to_call_it_faithful(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    manifest["recipe"]["resolved"]["upstream"] = {"url": "https://host/x", "commit": "a", "tree": "b"}
    assert "no record of upstream's commit" in reasons(manifest)


@pytest.mark.parametrize("name", ["setup.py", "trm_repro-9.whl", "model.bin", "all_config.yaml.bak"])
def test_a_file_that_no_bundle_has_though_listed(bundle: Path, name: str) -> None:
    write_text(bundle / name, "import os\n")
    answer = forged(bundle)
    assert answer.word == ALTERED and f"extra: {name}: no file of a bundle" in str(answer)


def test_a_key_that_stands_twice(bundle: Path) -> None:
    text = (bundle / "manifest.json").read_text()
    write_text(
        bundle / "manifest.json", text.replace('"faithful": false,', '"faithful": true,\n  "faithful": false,', 1)
    )
    write_bytes(bundle / "statement.json", b"{}")
    answer = forged(bundle)
    assert answer.word == ALTERED and "the key 'faithful' stands twice" in str(answer)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", "9" * 400, "9" * 5000, "9007199254740993"])
def test_a_number_that_readers_read_differently(bundle: Path, number: str) -> None:
    text = (bundle / "manifest.json").read_text()
    write_text(bundle / "manifest.json", text.replace('"all.accuracy": 0.7', f'"all.accuracy": {number}'))
    answer = forged(bundle)
    assert answer.word == ALTERED and "manifest" in str(answer)


# ---- archives ----


def zipped(bundle: Path, path: Path, *extra: tuple[str, bytes]) -> Path:
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        warnings.simplefilter("ignore")
        for file in bundle.iterdir():
            archive.write(file, file.name)
        for name, data in extra:
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("name", ["submission.json", "SUBMISSION.JSON", "./submission.json"])
def test_two_members_of_one_name(bundle: Path, tmp_path: Path, name: str) -> None:
    answer = verify(zipped(bundle, tmp_path / "x.zip", (name, b"{}")))
    assert answer.word == CANNOT_TELL and "two members are called" in answer.headline
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as archive:
        archive.add(bundle, ".")
        archive.addfile(tarfile.TarInfo(name))
    answer = verify(tmp_path / "x.tar.gz")
    assert answer.word == CANNOT_TELL and "two members are called" in answer.headline
    assert verify(zipped(bundle, tmp_path / "y.zip")).word == CONSISTENT


def test_two_members_of_one_name_in_a_checkpoint(bundle: Path) -> None:
    with zipfile.ZipFile(bundle / "model.ckpt") as archive:
        name = next(name for name in archive.namelist() if name.endswith("data.pkl"))
        data = archive.read(name)
    with warnings.catch_warnings(), zipfile.ZipFile(bundle / "model.ckpt", "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(name, data)
    with pytest.raises(InvariantBroken, match="two members are called"):
        read_content(bundle / "model.ckpt")


def zeros(count: int) -> Any:
    """A stream of that many zero bytes."""
    piece = bytes(1 << 20)
    return (piece for _ in range(count >> 20))


def zip_of_zeros(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("model.ckpt", "w") as file:
        for piece in zeros(MANY):
            file.write(piece)


def many_members(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i in range(3_000):
            archive.writestr(f"{i:0400}", b"")


def gzip_of_zeros(path: Path) -> None:
    header = tarfile.TarInfo("model.ckpt")
    header.size = MANY
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf())
        for piece in zeros(header.size):
            file.write(piece)


def long_header(path: Path) -> None:
    header = tarfile.TarInfo("././@PaxHeader")
    header.type, header.size = tarfile.XHDTYPE, 1 << 23
    with gzip.open(path, "wb") as file:
        file.write(header.tobuf(tarfile.USTAR_FORMAT))
        for piece in zeros(header.size):
            file.write(piece)


def sparse_file(path: Path) -> None:
    """512 bytes that say that they are a terabyte."""
    header = bytearray(tarfile.TarInfo("model.ckpt").tobuf(tarfile.GNU_FORMAT))
    header[156:157] = tarfile.GNUTYPE_SPARSE
    header[483:495] = b"\x80" + (1 << 40).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path.write_bytes(bytes(header) + bytes(10240))


def nested_members(path: Path) -> None:
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for i in range(150):
            archive.addfile(tarfile.TarInfo(str(i)))


@pytest.mark.parametrize("make", [zip_of_zeros, many_members, gzip_of_zeros, long_header, sparse_file, nested_members])
def test_an_archive_that_costs_more_than_it_should(
    tmp_path: Path, make: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "FREE", 1 << 20)
    monkeypatch.setattr(archives, "MEMBERS", 100)
    make(tmp_path / "bomb")
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = verify(tmp_path / "bomb")
    assert answer.word == CANNOT_TELL and "cannot be unpacked" in answer.headline, answer.headline
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # kilobytes


# ---- checkpoints ----


def checkpoint(path: Path, pickled: bytes, *, stored: bool = True, storage: bytes = bytes(64)) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled, zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED)
        archive.writestr("a/data/0", storage)
    return path


def tensor(size: bytes, stride: bytes = b"K\x01\x85") -> bytes:
    """The instructions that make a tensor of this size out of storage 0."""
    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\0" + b"0X\x03\0\0\0cpuK\x10tQ"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + size + stride + b"tR"


DICT, KEY, DEEP = b"\x80\x02}", b"X\x01\0\0\0a", b"K\x01" + b"q\0h\0\x86" * 60  # a tuple in a tuple …, twice each


@pytest.mark.parametrize(
    ("pickled", "words"),
    [
        (DICT + KEY + b"cos\nsystem\nX\x02\0\0\0id\x85Rs.", r"os\.system"),
        (DICT + DEEP + b"Ns.", "a key that is neither a text nor a whole number"),
        (DICT + KEY + DEEP + b"Qs.", "checkpoint"),
        (DICT + KEY + tensor(DEEP + b"\x85") + b"s.", "not made of numbers"),
        (DICT + KEY + tensor(b"J\xff\xff\xff\x7f\x85") + b"s.", "beyond its storage"),
        (DICT + KEY + tensor(KEY + b"\x85") + b"s.", "not made of numbers"),
        (DICT + KEY + tensor(b"J\xff\xff\xff\xff\x85") + b"s.", "not made of numbers"),
        (b"\x80\x02]" + KEY + b"a.", "no tensors by name: a list"),
        (b"\x80\x02" + b"(" * 100_000 + b".", "does not describe"),
        (DICT + b"q\0" + KEY + b"h\0s.", "nested more than 16 deep"),
        (b"I" + b"9" * 5000 + b"\n.", "checkpoint"),
        (b"", "checkpoint"),
    ],
)
def test_a_description_that_is_none(tmp_path: Path, pickled: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(InvariantBroken, match=words):
        read_state(checkpoint(tmp_path / "x", pickled))
    assert time.process_time() - began < 2


def test_a_description_that_unpacks_to_a_gigabyte(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "FREE", 1 << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("a/data.pkl", "w") as file:
            for piece in zeros(MANY):
                file.write(piece)
        archive.writestr("a/data/0", b"")
    (bundle / "model.ckpt").write_bytes(buffer.getvalue())
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcome, lines = said(forged(bundle), "tensors")
    assert outcome == "wrong" and "would unpack to" in lines
    assert time.process_time() - began < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


def test_tensors_that_lie_over_one_another(tmp_path: Path) -> None:
    """Ten thousand names for one storage: comparing the twins would read it ten thousand times."""
    one = tensor(b"J\x00\x00\x01\x00\x85")
    pickled = b"\x80\x02}(" + b"".join(b"X\x04\0\0\0%04d" % i + one for i in range(1000)) + b"u."
    with pytest.raises(InvariantBroken, match="they lie over one another"):
        read_content(checkpoint(tmp_path / "x", pickled, storage=bytes(1 << 18)))


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}, "gaps"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, "end at byte"),
        ({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, "over one another"),
        ({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, "8 bytes for F32"),
        ({"a": {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]}}, "not made of numbers"),
        ({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4.0]}}, "not made of numbers"),
        ([], "not a checkpoint"),
    ],
)
def test_a_safetensors_file_that_is_none(tmp_path: Path, header: Any, words: str) -> None:
    text = json.dumps(header).encode()
    (tmp_path / "x").write_bytes(len(text).to_bytes(8, "little") + text + bytes(8))
    with pytest.raises(InvariantBroken, match=words):
        read_content(tmp_path / "x")
    for length in (1 << 63, 1 << 40, 1 << 21):
        (tmp_path / "x").write_bytes(length.to_bytes(8, "little") + b"{" + bytes(7))
        with pytest.raises(InvariantBroken, match="its header has"):
            read_content(tmp_path / "x")


# ---- texts ----

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i}\n  <<: [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"a: &a [*a]", "an anchor that holds itself"),
        (b"&a {a: *a}", "an anchor that holds itself"),
        (LAUGHS.encode(), "anchors stand for more than"),
        (MERGES.encode(), "anchors stand for more than"),
        (b"[" * 60_000, "nested too deeply"),
        (b"x: " + b"y" * 70_000, "larger than"),
        (b"\xff\xfe\xfa", "x.yaml"),
        (b"caf\xe9: 1", "x.yaml"),
        (b"!!python/object/apply:os.system [id]", "x.yaml"),
        (b"!!int ''", "not valid YAML"),
        (b"!!timestamp x", "not valid YAML"),
        (b"x: " + b"9" * 5000, "not valid YAML"),
        (b"? [a]\n: b", "x.yaml"),
    ],
)
def test_a_yaml_text_that_no_configuration_is(text: bytes, words: str) -> None:
    began = time.process_time()
    with pytest.raises(InvariantBroken, match=words):
        parse_yaml(text, "x.yaml")
    assert time.process_time() - began < 5


@pytest.mark.parametrize(
    "text",
    [
        b"base: " + b"x" * 300,
        b"base: a\0b\n",
        b"base: ../../x\n",
        b"caf\xe9: 1\n",
        b"a: &a [*a]\n",
        b"base: \xff\n",
        b"a: 1\na: 2\n",
        b"7\n",
        b"",
        LAUGHS.encode(),
    ],
)
def test_a_recipe_that_is_none_is_told_so(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "mine.yaml").write_bytes(text)
    with pytest.raises(InvariantBroken, match=r"mine\.yaml"):
        read_recipe(tmp_path, "mine")


def test_a_configuration_whose_anchors_stand_for_more(bundle: Path) -> None:
    write_text(bundle / "all_config.yaml", LAUGHS + "lr: *a39\n")
    answer = forged(bundle)
    assert answer.word == ALTERED and "anchors stand for more" in said(answer, "config")[1]


def test_a_json_text_that_is_none() -> None:
    for text in (
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"\xff",
        b"9" * 5000,
        b'{"a": 1, "a": 2}',
        b"[NaN]",
        b"[-Infinity]",
    ):
        with pytest.raises(InvariantBroken, match="x: not valid JSON"):
            parse_json(text, "x", strict=True)


@pytest.mark.parametrize("layers", [10**9, "2", True, -1, 1e300, [2]])
def test_a_configuration_that_would_be_counted_up_to(bundle: Path, layers: Any) -> None:
    text = (bundle / "all_config.yaml").read_text()
    write_text(bundle / "all_config.yaml", text.replace("L_layers: 2", f"L_layers: {json.dumps(layers)}"))
    outcome, lines = said(forged(bundle), "tensors")
    assert outcome == "wrong" and "arch.L_layers" in lines


@pytest.mark.parametrize("text", ["7", "{}", "[1]", '["a", 1]', '["a"', '["a"]x', "[[],[]]", '["a",]'])
def test_identifiers_that_are_no_list_of_texts(bundle: Path, text: str) -> None:
    write_text(bundle / "identifiers.json", text)
    outcome, lines = said(forged(bundle), "tensors")
    assert outcome == "wrong" and "identifiers.json: not a JSON list of texts" in lines


def test_a_folder_of_very_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trm_repro.provenance.verify.ENTRIES", 50)
    write_text(tmp_path / "SHA256SUMS", "")
    for i in range(60):
        (tmp_path / f"{i}").touch()
    answer = verify(tmp_path)
    assert answer.word == ALTERED and "no bundle has so many" in answer.headline + str(answer)


def test_the_first_line_says_who_vouches_or_that_nobody_does(pristine: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trm_repro", "verify", str(pristine)], capture_output=True, text=True, check=True
    )
    assert done.stdout.partition("\n")[0].startswith("CONSISTENT, vouched for by nobody: ")
    assert "VERIFIED" not in done.stdout
