"""Whatever is done to a bundle is found and named; moving it is doing nothing; a forger must be consistent everywhere."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proof_support import HERE, make_bundle, make_run, the_manifest

from trm_repro.cli import main
from trm_repro.files import read_json, write_bytes, write_json, write_text
from trm_repro.provenance.bundle import write_sums
from trm_repro.provenance.checks.claims import truth
from trm_repro.provenance.faithful import reasons
from trm_repro.provenance.statement import make_statement
from trm_repro.provenance.verify import ALTERED, CANNOT_TELL, CONSISTENT, VERIFIED, Answer, verify
from trm_repro.weights.stored import read_content
from trm_repro.weights.twin import PIECE, different_values


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    return make_bundle(make_run(root), root / "bundle")


@pytest.fixture
def bundle(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "bundle"))


def finding(verdict: Answer, check: str) -> tuple[str, str]:
    found = next(finding for finding in verdict.findings if finding.check == check)
    return found.outcome, "\n".join(found.lines)


def reseal(bundle: Path, manifest: dict[str, Any] | None = None) -> Answer:
    """What a forger does afterwards: derive everything again that can be derived, then verify."""
    if manifest:
        manifest["reasons"] = reasons(manifest)
        manifest["faithful"] = not manifest["reasons"]
        write_json(bundle / "manifest.json", manifest)
        write_bytes(bundle / "statement.json", make_statement((bundle / "manifest.json").read_bytes()))
    write_sums(bundle)
    return verify(bundle)


# ---- untouched ----


def test_an_untouched_bundle_is_vouched_for_by_nobody(pristine: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(pristine)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("CONSISTENT, vouched for by nobody: 12 checks, nothing found; whoever made it can have made")
    assert "no bundle can prove it: ARC/pass@1000, all.accuracy, all.exact_accuracy\n" in said
    assert "scored again on 4 tasks of ARC-AGI-2 evaluation" in said
    assert "pass@2 per task        50.000 %  2 of 4 tasks        95 % interval 15.00 to 85.00 %" in said
    assert "pass@2 per test input  60.000 %  3 of 5 test inputs" in said


def test_a_verdict_whose_reader_has_gone_is_no_success(bundle: Path) -> None:
    """`trm-repro verify … | head -1` under pipefail: an altered bundle, told to nobody, must not end with 0."""
    (bundle / "manifest.json").write_text("{}")
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-u", "-m", "trm_repro", "verify", str(bundle)]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert done.returncode == 128 + signal.SIGPIPE
    assert "Traceback" not in done.stderr


def test_an_address_is_no_bundle_and_is_not_said_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "https://user:secret@host/bundle?token=secret"]) == 2
    said = capsys.readouterr()
    assert "what is verified is what was downloaded" in said.err and "secret" not in said.out + said.err
    assert main(["verify", "runs:old"]) == 3, "a folder's name may have a colon"


def test_moving_and_renaming_changes_nothing(pristine: Path, tmp_path: Path) -> None:
    before = verify(pristine)
    moved = Path(shutil.copytree(pristine, tmp_path / "else where" / "ünder another name"))
    assert str(verify(moved)) == str(before)
    for path in moved.iterdir():
        os.utime(path, (1, 1))
        path.chmod(0o600)
    assert str(verify(moved)) == str(before)


@pytest.mark.parametrize("form", ["zip", "gztar", "tar in a folder"])
def test_an_archive_is_as_good_as_the_folder_and_unpacking_shows_progress(
    pristine: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("trm_repro.archives.SOON", 0)
    if form == "tar in a folder":
        archive = tmp_path / "kaggle.tar"
        with tarfile.open(archive, "w") as tar:
            tar.add(pristine, "some-name")
    else:
        archive = Path(shutil.make_archive(str(tmp_path / "kaggle"), form, pristine))
    assert str(verify(archive)) == str(verify(pristine))
    assert f"unpacking {archive.name}: " in capsys.readouterr().err


def test_a_download_from_kaggle_lacks_its_settings(bundle: Path) -> None:
    (bundle / "dataset-metadata.json").unlink()
    (bundle / "dataset-cover-image.png").unlink()
    assert verify(bundle).word == CONSISTENT


def test_a_download_from_the_hub_has_furniture(bundle: Path) -> None:
    write_text(bundle / ".gitattributes", "*.ckpt filter=lfs\n")
    write_text(bundle / ".cache" / "huggingface" / "x", "")
    assert verify(bundle).word == CONSISTENT


def test_sha256sum_accepts_the_lists(pristine: Path) -> None:
    for name in ("SHA256SUMS", "kaggle.sha256"):
        done = subprocess.run(["sha256sum", "--strict", "-c", name], cwd=pristine, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_neither_torch_nor_network_is_needed(pristine: Path, tmp_path: Path) -> None:
    for name in ("torch", "safetensors", "huggingface_hub", "matplotlib", "kaggle"):
        write_text(tmp_path / name / "__init__.py", "raise SystemExit(f'{__name__} was imported')\n")
    script = (
        "import socket, sys\n"
        "def refuse(*_): raise SystemExit('the network was used')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from trm_repro.cli import main\n"
        f"sys.exit(main(['verify', {str(pristine)!r}]))\n"
    )
    environ = {"PYTHONPATH": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=environ, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


# ---- altered ----


def flip(path: Path, position: int, bit: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= bit
    path.write_bytes(data)


def files_of(bundle: Path) -> list[str]:
    return sorted(path.name for path in bundle.iterdir())


def test_changing_any_byte_of_any_file_is_detected_and_named(pristine: Path, tmp_path: Path) -> None:
    """Every file; of each, its first and last byte and a dozen between; of the short lists of digests, every 3rd byte."""
    bundle = Path(shutil.copytree(pristine, tmp_path / "bundle"))
    for name in files_of(pristine):
        path, size = bundle / name, (pristine / name).stat().st_size
        stride = 3 if name in ("SHA256SUMS", "kaggle.sha256") else max(1, size // 12)
        for position in sorted({*range(0, size, stride), size - 1}):
            flip(path, position)
            verdict = verify(bundle)
            assert verdict.word == ALTERED and verdict.exit_code == 1, (name, position)
            assert name in str(verdict), (name, position, str(verdict))
            flip(path, position)
    assert verify(bundle).word == CONSISTENT


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changing_bytes_at_random_is_detected_and_named(
    pristine: Path, tmp_path_factory: Any, data: st.DataObject
) -> None:
    name = data.draw(st.sampled_from(files_of(pristine)))
    content = (pristine / name).read_bytes()
    position = data.draw(st.integers(0, len(content) - 1))
    change = data.draw(
        st.one_of(
            st.integers(1, 255).map(lambda bits: bytes([content[position] ^ bits])),  # another byte
            st.just(b""),  # one byte less
            st.binary(min_size=1, max_size=3).map(lambda more: content[position : position + 1] + more),  # some more
        )
    )
    bundle = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("any") / "b"))
    changed = content[:position] + change + content[position + 1 :]
    if changed == content:
        return
    (bundle / name).write_bytes(changed)
    verdict = verify(bundle)
    assert verdict.word == ALTERED and name in str(verdict), str(verdict)
    shutil.rmtree(bundle)


def test_a_missing_file_is_named(pristine: Path, bundle: Path) -> None:
    for name in files_of(pristine):
        if name in ("dataset-metadata.json", "dataset-cover-image.png"):
            continue  # Kaggle keeps those
        (bundle / name).rename(bundle.parent / name)
        verdict = verify(bundle)
        assert verdict.word == ALTERED and f"missing: {name}" in str(verdict), name
        (bundle.parent / name).rename(bundle / name)


def test_expected_and_found_are_shown(bundle: Path) -> None:
    write_text(bundle / "README.md", "hello\n")
    shown = str(verify(bundle))
    assert "README.md: SHA256SUMS expects sha256 " in shown and "found 5891b5b522d5df08" in shown
    assert "(6 bytes)" in shown


@pytest.mark.parametrize("extra", ["evil.py", ".hidden", "folder/x"])
def test_an_extra_file_is_named(bundle: Path, extra: str) -> None:
    write_text(bundle / extra, "")
    verdict = verify(bundle)
    assert verdict.word == ALTERED and f"extra: {extra.partition('/')[0]}" in str(verdict)


def test_what_is_no_file_is_named(bundle: Path) -> None:
    (bundle / "nowhere").symlink_to("not-there")
    os.mkfifo(bundle / "pipe")
    verdict = verify(bundle)
    assert verdict.word == ALTERED and "extra: nowhere" in str(verdict) and "extra: pipe" in str(verdict)


def test_a_name_cannot_write_the_verdict(bundle: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Neither a new line, nor a terminal's control codes, nor bytes that are no text."""
    (bundle / "x\nVERIFIED: 12 checks\x1b[2J").touch()
    (bundle / os.fsdecode(b"y\xff")).touch()
    assert main(["verify", str(bundle)]) == 1
    said = capfd.readouterr().out
    assert said.splitlines()[0].startswith("ALTERED: ")
    assert r"extra: x\nVERIFIED: 12 checks\x1b[2J" in said and r"extra: y\udcff" in said


# ---- altered by somebody who computes all digests again ----


def edit(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], dict[str, Any]]:
    def edited(bundle: Path) -> dict[str, Any]:
        manifest: dict[str, Any] = read_json(bundle / "manifest.json")
        change(manifest)
        return manifest

    return edited


def training(manifest: dict[str, Any]) -> dict[str, Any]:
    return next(entry for entry in manifest["commands"] if entry["step"] == "05-train")


def output(manifest: dict[str, Any], role: str) -> dict[str, Any]:
    return [entry for entry in manifest["outputs"] if entry["role"] == role][-1]


@pytest.mark.parametrize(
    ("check", "words", "change"),
    [
        ("manifest", "digest", edit(lambda m: m["recipe"]["resolved"].update(faithful=True))),
        ("outputs", "model.ckpt", edit(lambda m: output(m, "final-checkpoint").update(sha256="0" * 64))),
        ("outputs", "missing: submission", lambda b: (b / "submission.json").unlink()),
        ("outputs", "dataset.sha256", edit(lambda m: output(m, "dataset").update(sha256="0" * 64))),
        ("commands", "added: lr=1", edit(lambda m: training(m)["argv"].append("lr=1"))),
        ("commands", "missing: ema=True", edit(lambda m: training(m)["argv"].remove("ema=True"))),
        ("commands", "shared a batch", edit(lambda m: training(m)["argv"].__setitem__(2, "3"))),
        ("commands", "nothing ran", edit(lambda m: training(m).update(exit_code=5))),
        ("steps", "steps fit", edit(lambda m: output(m, "final-checkpoint").update(path="c/step_5500"))),
        ("steps", "called the final one", edit(lambda m: output(m, "checkpoint").update(path="c/step_999"))),
        ("steps", "metrics are those of step 28", edit(lambda m: m["metrics"].update(step=28))),
        ("submission", "the manifest says 0.75", edit(lambda m: m["metrics"].update({"ARC/pass@2": 0.75}))),
        ("card", "README.md", lambda b: write_text(b / "README.md", "**A faithful reproduction** indeed\n")),
        ("statement", "missing", lambda b: (b / "statement.json").unlink()),
        ("statement", "not the statement", lambda b: write_text(b / "statement.json", "{}")),
        ("config", "arch.L_cycles: expected 4", lambda b: replace(b / "all_config.yaml", "L_cycles: 4", "L_cycles: 6")),
        ("config", "lr: expected 0.001", lambda b: replace(b / "all_config.yaml", "\nlr: 0.001", "\nlr: 0.002")),
        ("config", "ema_rate: missing", lambda b: replace(b / "all_config.yaml", "ema_rate: 0.999\n", "")),
        ("twin", "has other values than", lambda b: flip(b / "model.safetensors", -1)),
        ("twin", "not a checkpoint", lambda b: write_text(b / "model.safetensors", "hello")),
        ("tensors", "puzzle_emb.weights", lambda b: write_json(b / "identifiers.json", ["<blank>"])),
        ("tensors", "not a checkpoint", lambda b: write_text(b / "model.ckpt", "hello")),
    ],
)
def test_a_consistent_forgery_is_found_by_what_it_contradicts(
    bundle: Path, check: str, words: str, change: Any
) -> None:
    changed = change(bundle)
    verdict = reseal(bundle, changed if isinstance(changed, dict) else None)
    outcome, lines = finding(verdict, check)
    assert verdict.word == ALTERED and outcome == "wrong" and words in lines, str(verdict)


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    write_text(path, text.replace(old, new))


def test_faithful_cannot_be_set_by_hand(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    manifest.update(faithful=True, reasons=[])
    write_json(bundle / "manifest.json", manifest)
    write_bytes(bundle / "statement.json", make_statement((bundle / "manifest.json").read_bytes()))
    write_sums(bundle)
    outcome, lines = finding(verify(bundle), "manifest")
    assert outcome == "wrong" and "its own facts say" in lines


def test_reasons_cannot_be_left_out_by_hand(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    manifest["reasons"] = manifest["reasons"][:1]
    write_json(bundle / "manifest.json", manifest)
    write_bytes(bundle / "statement.json", make_statement((bundle / "manifest.json").read_bytes()))
    write_sums(bundle)
    outcome, lines = finding(verify(bundle), "manifest")
    assert outcome == "wrong" and "its own facts say" in lines


def test_an_overridden_command_is_on_record_and_no_forgery(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    training(manifest)["argv"].append("++seed=0")
    guard = next(g for g in manifest["guards"] if g["guard"] == "G-TRAIN-COMMAND" and g["step"] == "05-train")
    guard |= {"outcome": "overridden", "detail": "added: ++seed=0"}
    manifest["reasons"] = reasons(manifest)
    verdict = reseal(bundle, manifest)
    assert finding(verdict, "commands")[0] == "ok" and finding(verdict, "manifest")[0] == "ok"
    assert verdict.word == CONSISTENT


def test_a_checkpoint_that_would_run_code_is_refused(bundle: Path, tmp_path: Path) -> None:
    import torch

    class Evil:
        def __reduce__(self) -> Any:
            return os.system, (f"touch {tmp_path}/owned",)

    torch.save({"model.inner.H_init": Evil()}, bundle / "model.ckpt")
    outcome, lines = finding(reseal(bundle), "tensors")
    assert outcome == "wrong" and "posix.system" in lines
    assert not (tmp_path / "owned").exists()


def test_the_checkpoint_is_read_as_torch_reads_it(pristine: Path) -> None:
    import torch

    found = read_content(pristine / "model.ckpt")
    state = torch.load(pristine / "model.ckpt", weights_only=True)
    assert {name: tensor.shape for name, tensor in found.items()} == {n: tuple(t.shape) for n, t in state.items()}
    data = (pristine / "model.ckpt").read_bytes()
    for name, tensor in found.items():
        assert data[tensor.begin : tensor.begin + tensor.bytes] == state[name].numpy().tobytes()


def test_the_last_byte_of_a_tensor_larger_than_a_piece_counts(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    state = {"model.inner.puzzle_emb.weights": torch.rand(700, 512), "model.inner.q_head.bias": torch.rand(2)}
    torch.save(state, tmp_path / "model.ckpt")
    save_file(state, tmp_path / "model.safetensors")
    assert different_values(tmp_path / "model.ckpt", tmp_path / "model.safetensors") == []
    large = read_content(tmp_path / "model.safetensors")["model.inner.puzzle_emb.weights"]
    assert large.bytes > PIECE
    flip(tmp_path / "model.safetensors", large.begin + large.bytes - 1)
    (line,) = different_values(tmp_path / "model.ckpt", tmp_path / "model.safetensors")
    assert "puzzle_emb.weights has other values" in line


def test_lines_added_to_the_list_of_digests_are_found(bundle: Path) -> None:
    with (bundle / "SHA256SUMS").open("a") as file:
        file.write("# a remark\n")
    assert verify(bundle).word == ALTERED


@pytest.mark.parametrize("change", [lambda lines: lines[::-1], lambda lines: [*lines, lines[-1]]])
def test_the_list_of_digests_has_one_form(bundle: Path, change: Any) -> None:
    lines = (bundle / "SHA256SUMS").read_text().splitlines(keepends=True)
    write_text(bundle / "SHA256SUMS", "".join(change(lines)))
    verdict = verify(bundle)
    assert verdict.word == ALTERED and "SHA256SUMS: its lines are not sorted, repeated" in str(verdict)


# ---- cannot tell ----


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(tmp_path / "none")]) == 3
    assert "CANNOT TELL" in capsys.readouterr().out


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert verify(tmp_path / "pipe").word == "CANNOT TELL"


def test_something_else(tmp_path: Path) -> None:
    write_text(tmp_path / "x.txt", "")
    assert verify(tmp_path).word == CANNOT_TELL
    assert verify(tmp_path / "x.txt").word == CANNOT_TELL


def test_the_artifacts_of_a_run_are_no_bundle(bundle: Path) -> None:
    (bundle / "weights").mkdir()
    assert verify(bundle).word == ALTERED
    (bundle / "model.ckpt").rename(bundle / "weights/model.ckpt")
    verdict = verify(bundle)
    assert verdict.word == CANNOT_TELL and "not the bundle made of it" in str(verdict)


@pytest.mark.parametrize("name", ["../outside", "/outside", "link", "device"])
def test_an_archive_with_more_than_files_inside_is_refused(pristine: Path, tmp_path: Path, name: str) -> None:
    archive = tmp_path / "kaggle.tar"
    entry = tarfile.TarInfo(name)
    entry.type = {"link": tarfile.SYMTYPE, "device": tarfile.FIFOTYPE}.get(name, tarfile.REGTYPE)
    entry.linkname = "../../outside"
    with tarfile.open(archive, "w") as tar:
        tar.add(pristine, ".")
        tar.addfile(entry)
    answer = verify(archive)
    assert answer.word == CANNOT_TELL and "is not a plain file inside it" in str(answer)


@pytest.mark.parametrize("form", ["zip", "gztar", "bztar", "xztar"])
def test_a_broken_archive(pristine: Path, tmp_path: Path, form: str) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "kaggle"), form, pristine))
    flip(archive, archive.stat().st_size // 2)
    verdict = verify(archive)
    assert (verdict.word == CANNOT_TELL and "cannot be unpacked" in str(verdict)) or verdict.word == ALTERED


def test_no_room_to_unpack(pristine: Path, tmp_path: Path) -> None:
    archive = shutil.make_archive(str(tmp_path / "kaggle"), "zip", pristine)
    words = ["bash", "-c", 'ulimit -f 100; exec "$@"', "bash", sys.executable, "-m", "trm_repro", "verify", archive]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "TMPDIR can name a place with more room" in done.stdout, done.stdout + done.stderr


def test_an_archive_of_impossible_names_is_not_for_want_of_room(tmp_path: Path) -> None:
    for number, names in enumerate((("a", "a/b"), ("a" * 300,))):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            for name in names:
                archive.writestr(name, b"x")
        assert (said := str(verify(tmp_path / f"{number}.zip"))).startswith("CANNOT TELL") and "TMPDIR" not in said


def test_a_manifest_of_the_future(bundle: Path) -> None:
    replace(bundle / "manifest.json", "trm-repro/manifest/v1", "trm-repro/manifest/v2")
    verdict = reseal(bundle)
    assert verdict.word == CANNOT_TELL and verdict.exit_code >= 2 and "manifest/v2" in str(verdict)


def test_a_recipe_that_this_tool_cannot_read(bundle: Path) -> None:
    manifest = read_json(bundle / "manifest.json")
    del manifest["recipe"]["resolved"]["expected"]
    import hashlib

    whole = {"name": manifest["recipe"]["name"], **manifest["recipe"]["resolved"]}
    manifest["recipe"]["sha256"] = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()
    write_json(bundle / "manifest.json", manifest)
    verdict = reseal(bundle)
    assert verdict.word == CANNOT_TELL and "expected" in finding(verdict, "manifest")[1]


def test_a_file_that_may_not_be_read(bundle: Path) -> None:
    """Seen with the eyes of somebody who is not root: root may read everything."""
    (bundle / "manifest.json").chmod(0)
    for folder in (bundle, *(parent for parent in bundle.parents if "pytest-of" in str(parent))):
        folder.chmod(0o755)  # pytest's folders are its owner's only
    script = (
        "import contextlib, io, os, sys\n"
        "from trm_repro.cli import main\n"
        "with contextlib.redirect_stdout(io.StringIO()):\n"
        "    main(['verify', sys.argv[1]])\n"  # imports all that it needs: the other user may not see this repository
        "os.getuid() or os.setuid(65534)\n"
        "sys.exit(main(['verify', sys.argv[1]]))\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 3 and "CANNOT TELL" in done.stdout and "manifest.json" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("all_config.yaml", "arch: {{"),
        ("all_config.yaml", "[]"),
        ("manifest.json", "[" * 100_000),
        ("manifest.json", '{"format": "trm-repro/manifest/v1"}'),
        ("identifiers.json", "7"),
        ("submission.json", "[" * 100_000),
        ("README.md", "\udcff"),
        ("statement.json", "\x00"),
    ],
)
def test_whatever_stands_in_a_file_there_is_a_word(bundle: Path, name: str, content: str) -> None:
    (bundle / name).write_bytes(content.encode(errors="surrogateescape"))
    assert reseal(bundle).word in (ALTERED, CANNOT_TELL)


@pytest.mark.parametrize("count", ["0", "-1", "x"])
def test_an_impossible_number_of_processes(bundle: Path, count: str) -> None:
    manifest = read_json(bundle / "manifest.json")
    training(manifest)["argv"][2] = count
    assert reseal(bundle, manifest).word in (ALTERED, CANNOT_TELL)


# ---- who vouches ----


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    folder = tmp_path_factory.mktemp("keys")
    for name in ("ada", "eve"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@example.org", "-f", str(folder / name)]
        subprocess.run(words, check=True)
    write_text(folder / "signers", f"ada@example.org {(folder / 'ada.pub').read_text()}")
    return folder


def signed(bundle: Path, keys: Path, who: str) -> Path:
    assert main(["statement", "sign", str(bundle / "statement.json"), "--key", str(keys / who)]) == 0
    write_sums(bundle)
    return bundle


def test_a_signature_by_an_allowed_signer(bundle: Path, keys: Path) -> None:
    verdict = verify(signed(bundle, keys, "ada"), signers=keys / "signers")
    outcome, lines = finding(verdict, "signature")
    assert (
        verdict.word == VERIFIED and outcome == "ok" and "signed by ada@example.org with ED25519 key SHA256:" in lines
    )
    assert str(verdict).startswith("VERIFIED, vouched for by ada@example.org (ED25519 key SHA256:")
    assert "nobody vouches for README.md, trm_repro-" in lines, (
        "a signature does not cover what the manifest does not name"
    )


def test_a_signature_by_somebody_else(bundle: Path, keys: Path) -> None:
    verdict = verify(signed(bundle, keys, "eve"), signers=keys / "signers")
    assert verdict.word == ALTERED and "none of the signers" in finding(verdict, "signature")[1]


def test_a_signature_without_signers_says_whose_key_is_not_known(bundle: Path, keys: Path) -> None:
    verdict = verify(signed(bundle, keys, "eve"))
    assert verdict.word == CONSISTENT and "nobody was asked whose key that is" in str(verdict)
    assert str(verdict).startswith("CONSISTENT, vouched for by nobody: ")


def test_a_signature_of_another_statement(bundle: Path, keys: Path) -> None:
    signed(bundle, keys, "ada")
    manifest = read_json(bundle / "manifest.json")
    manifest["host"]["cpu"] = "another"
    verdict = reseal(bundle, manifest)
    assert verdict.word == ALTERED and finding(verdict, "signature")[0] == "wrong"


def test_signers_but_no_signature(bundle: Path, keys: Path) -> None:
    verdict = verify(bundle, signers=keys / "signers")
    assert verdict.word == CANNOT_TELL and "not signed" in str(verdict)


def test_no_ssh_keygen(bundle: Path, keys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    signed(bundle, keys, "ada")
    monkeypatch.setenv("PATH", "/nowhere")
    verdict = verify(bundle)
    assert verdict.word == CANNOT_TELL and "ssh-keygen is not there" in str(verdict)


# ---- the formats ----


@pytest.mark.parametrize("golden", sorted((HERE / "tests/golden/bundles").glob("*")), ids=lambda path: path.name)
def test_a_bundle_of_every_released_format_is_still_read(golden: Path) -> None:
    verdict = verify(golden)
    assert verdict.word == CONSISTENT, str(verdict)


def test_statement_is_valid_in_toto_and_slsa(pristine: Path) -> None:
    from google.protobuf.json_format import Parse
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1 import statement_pb2
    from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
    from in_toto_attestation.v1.statement import Statement

    value = read_json(pristine / "statement.json")
    Statement.copy_from_pb(Parse(json.dumps(value), statement_pb2.Statement())).validate()
    provenance = Parse(json.dumps(value["predicate"]), Provenance())
    assert provenance.build_definition.build_type == "urn:trm-repro:run:v1"
    assert provenance.run_details.builder.id and provenance.run_details.metadata.started_on.seconds
    for described in (*provenance.build_definition.resolved_dependencies, *provenance.run_details.byproducts):
        ResourceDescriptor.copy_from_pb(described).validate()


def test_statement_is_canonical_and_covers_weights_data_and_submission(pristine: Path) -> None:
    import rfc8785

    data = (pristine / "statement.json").read_bytes()
    value = json.loads(data)
    assert rfc8785.dumps(value) == data
    manifest = read_json(pristine / "manifest.json")
    subjects = {subject["digest"]["sha256"] for subject in value["subject"]}
    for role in ("final-checkpoint", "dataset", "identifiers", "test-puzzles", "submission"):
        assert output(manifest, role)["sha256"] in subjects
    dependencies = value["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert any(
        d.get("uri", "").startswith("pkg:pypi/numpy@") and d["annotations"]["recordSha256"] for d in dependencies
    )
    assert manifest["inputs"][0]["sha256"] in {d.get("digest", {}).get("sha256") for d in dependencies}
    assert value["predicate"]["buildDefinition"]["externalParameters"]["knobs"] == {"RUN_NAME": "tiny"}


def test_statement_names_upstream_by_commit_and_tree(pristine: Path) -> None:
    manifest = read_json(pristine / "manifest.json")
    manifest["upstream"] = {"url": "https://example.org/x.git", "commit": "a" * 40, "tree": "b" * 40}
    value = json.loads(make_statement(json.dumps(manifest).encode()))
    first = value["predicate"]["buildDefinition"]["resolvedDependencies"][0]
    assert first["digest"] == {"gitCommit": "a" * 40, "gitTree": "b" * 40}
    assert first["uri"] == f"git+https://example.org/x.git@{'a' * 40}"


def test_two_manifests_of_one_run_agree_but_for_nothing(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert the_manifest(run) == the_manifest(run)


@pytest.mark.parametrize(("subset", "tasks"), [("evaluation", 400), ("evaluation2", 120), ("test", None)])
def test_the_answers_of_both_benchmarks_are_known(subset: str, tasks: int | None) -> None:
    words = ["--test-set-name", subset]
    found = truth({"recipe": {"resolved": {"dataset": {"arguments": words}, "tasks": {"select": {}}}}})
    assert (found and len(found)) == tasks
