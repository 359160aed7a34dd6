"""Weights as people publish them: every layout is loaded as what it is, or named for what it is."""

from __future__ import annotations

import io
import os
import pickle
import re
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trm_repro.cli import main
from trm_repro.engine.checkpoint import know_same_puzzles, load_weights, read_adapters, read_weights
from trm_repro.engine.config import ArchConfig
from trm_repro.engine.predict import load_checkpoint
from trm_repro.engine.scorecard import locate
from trm_repro.errors import InvariantBroken, ReproError
from trm_repro.files import write_json
from trm_repro.publish.fetch import fetch
from trm_repro.weights.find import find_weights
from trm_repro.weights.state import read_state
from trm_repro.weights.stored import read_content

State = dict[str, torch.Tensor]


ARCH = ArchConfig(hidden_size=16, num_heads=2, puzzle_emb_ndim=16, puzzle_emb_len=1, forward_dtype="float32")


def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return ARCH.build(12, 9, 3)


INNER = {name: value.contiguous().clone() for name, value in model().state_dict().items()}
OURS = {f"model.inner.{name}": value for name, value in INNER.items()}


def saved(content: Any, **how: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **how)
    return buffer.getvalue()


def safetensors(state: State) -> bytes:
    from safetensors.torch import save

    return save(state)


def prefixed(prefix: str) -> State:
    return {prefix + name: value for name, value in INNER.items()}


def cast(dtype: torch.dtype) -> State:
    return {name: value.to(dtype) for name, value in OURS.items()}


READ: dict[str, tuple[bytes, str]] = {  # name: the file, a word of what is said of it
    "upstream": (saved(OURS), ""),
    "compiled": (saved(prefixed("_orig_mod.model.inner.")), ""),
    "DDP": (saved(prefixed("module.model.inner.")), "begin with module."),
    "DDP, compiled": (saved(prefixed("module._orig_mod.model.inner.")), "begin with module."),
    "compiled, DDP": (saved(prefixed("_orig_mod.module.model.inner.")), "begin with _orig_mod.module."),
    "inner": (saved(prefixed("inner.")), "begin with inner."),
    "in a class of its own": (
        saved(prefixed("net._fsdp_wrapped_module.inner.")),
        "begin with net._fsdp_wrapped_module.",
    ),
    "averaged by torch": (saved({"n_averaged": torch.tensor(5), **prefixed("module.")}), "not looked at: n_averaged"),
    "bare": (saved(INNER), "no prefix"),
    "before 1.6": (saved(OURS, _use_new_zipfile_serialization=False), ""),
    "safetensors": (safetensors(OURS), ""),
    "wrapped": (saved({"state_dict": OURS, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}}), "part state_dict"),
    "wrapped twice": (saved({"model": {"ema": OURS}, "step": 46}), "part model.ema"),
    "among plain values": (saved({**OURS, "step": 46}), "not looked at: step"),
    "rotary buffers": (saved({**OURS, "model.inner.rotary_emb.cos_cached": torch.ones(3)}), "rotary_emb.cos_cached"),
    "parameters": (saved({name: torch.nn.Parameter(value) for name, value in OURS.items()}), ""),
    "views": (saved({name: torch.cat([v, v])[: len(v)] for name, v in OURS.items()}), ""),
    "float16": (saved(cast(torch.float16)), "are F16"),
    "bfloat16": (saved(cast(torch.bfloat16)), "are BF16"),
    "float64": (saved(cast(torch.float64)), "are F64"),
}


@pytest.mark.parametrize("name", READ)
def test_a_layout_is_read(name: str, tmp_path: Path) -> None:
    data, said = READ[name]
    (tmp_path / "step_46").write_bytes(data)
    found = read_weights(tmp_path / "step_46")
    assert found.keys() == INNER.keys()
    other, wanted = model(), found["lm_head.weight"].dtype
    with torch.no_grad():
        for value in other.state_dict().values():
            value.zero_()
    notes = load_weights(other, found, source="x")
    for key, value in other.state_dict().items():
        assert torch.equal(value, INNER[key].to(wanted).to(value.dtype)), key
    assert any("converted" in note for note in notes) == (wanted != torch.float32)
    fetched = fetch(str(tmp_path / "step_46"), tmp_path / "here")
    state = read_state(tmp_path / "step_46")
    assert (said in " ".join(fetched.notes)) if said else not [*state.oddities(), *state.conversions()]


class Evil:
    def __reduce__(self) -> Any:
        return pickle.loads, (b"I1\n.",)


def hrm() -> State:
    return OURS | {name.replace("L_level", "H_level"): v for name, v in OURS.items() if "L_level" in name}


def ring() -> dict[str, Any]:
    content: dict[str, Any] = {}
    content["again"] = content
    return content


LUCIDRAINS = {
    "output_init_embed": torch.ones(4),
    "network.0.weight": torch.ones(4, 4),
    "to_halt_pred.0.weight": torch.ones(4),
}


def rezipped(edit: Callable[[str, bytes], bytes | None]) -> bytes:
    """What torch.save wrote, its members edited."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(saved(OURS))) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            if (data := edit(entry.filename, old.read(entry))) is not None:
                new.writestr(entry.filename, data)
    return buffer.getvalue()


LEGACY = saved(OURS, _use_new_zipfile_serialization=False)
REFUSED: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "an empty file"),
    "a page that was saved": (b"\xef\xbb\xbf<!-- saved from url --><html>", "a web page"),
    "before 1.6, cut off early": (LEGACY[:300], "cut off"),
    "before 1.6, cut off in its first words": (LEGACY[:14], "cut off"),
    "safetensors, cut off early": (safetensors(OURS)[:400], "cut off"),
    "big-endian": (rezipped(lambda name, data: b"big" if name.endswith("byteorder") else data), "big-endian"),
    "before 1.6, big-endian": (re.sub(b"(?<=little_endianq.)\x88", b"\x89", LEGACY, flags=re.DOTALL), "big-endian"),
    "values missing": (rezipped(lambda name, data: None if name.endswith("/data/3") else data), "lacks the values"),
    "whole numbers": (saved(cast(torch.int8)), "it is one whose H_init is I8"),
    "floats of 8 bits": (safetensors(cast(torch.float8_e4m3fn)), "it is one whose"),
    "a scalar for a matrix": (
        saved({**OURS, "model.inner.lm_head.weight": torch.ones(())}),
        "lm_head.weight is F32 []",
    ),
    "averaged beside raw, flat": (saved({**OURS, **{f"ema.{k}": v for k, v in OURS.items()}}), "not all alike"),
    "another pickle protocol": (saved(OURS, pickle_protocol=4), "the instruction STACK_GLOBAL"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2467981320\n",
        "2,467,981,320 bytes",
    ),
    "web page": (b"\n<!DOCTYPE html><html><title>403</title></html>", "a web page"),
    "gzip": (b"\x1f\x8b\x08\x00" + bytes(600), "compressed with gzip"),
    "text": (b"404: not found", "not a checkpoint"),
    "pickle": (pickle.dumps(OURS, 4), "a Python pickle that torch.save did not write"),
    "cut off": (saved(OURS)[:9000], "cut off"),
    "before 1.6, cut off": (LEGACY[:-900], "cut off"),
    "safetensors, cut off": (safetensors(OURS)[:-900], "cut off"),
    "safetensors, absurd": (struct.pack("<Q", 1 << 60) + b"{", "no safetensors file"),
    "runs code": (saved({**OURS, "x": Evil()}), "no part of a state dict; nothing of it was run"),
    "a whole module": (saved(torch.nn.Linear(2, 2)), "asks for torch.nn.modules.linear.Linear"),
    "one tensor": (saved(torch.ones(3)), "holds no tensors by name"),
    "no tensors": (saved({"step": 3}), "holds no tensors by name"),
    "endless": (saved(ring()), "nested more than"),
    "transposed": (saved({name: v.t() if v.dim() == 2 else v for name, v in OURS.items()}), "not in order"),
    "HRM": (saved(hrm()), "it is HRM"),
    "lucidrains": (saved(LUCIDRAINS), "lucidrains' tiny-recursive-model"),
    "other": (saved({"encoder.weight": torch.ones(3)}), "it lacks H_init"),
    "adapters": (saved({"model.inner.lm_head._lora_A": torch.ones(2, 2)}), "adapters of LoRA"),
    "two sets": (saved({"model": OURS, "ema_state_dict": OURS}), "several sets of weights: model, ema_state_dict"),
    "two prefixes": (saved({**OURS, "module.lm_head.bias": torch.ones(2)}), "not all alike"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_trm_is_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    data, said = REFUSED[name]
    (tmp_path / "step_46").write_bytes(data)
    with pytest.raises(InvariantBroken, match=r"^step_46: ") as error:
        read_weights(tmp_path / "step_46")
    assert said in str(error.value)
    with pytest.raises(ReproError) as fetched:
        fetch(str(tmp_path / "step_46"), tmp_path / "here")
    assert str(fetched.value) == str(error.value) and not (tmp_path / "here").exists()


def test_a_set_is_asked_for_by_name(tmp_path: Path) -> None:
    averaged = {name: value + 1 for name, value in OURS.items()}
    torch.save({"model": OURS, "ema": averaged}, tmp_path / "best.pt")
    with pytest.raises(InvariantBroken) as error:
        read_weights(tmp_path / "best.pt")
    assert "best.pt:ema" in str(error.value.hint)
    for part, plus in (("model", 0), ("ema", 1)):
        found = read_weights(f"{tmp_path}/best.pt:{part}")
        assert torch.equal(found["lm_head.weight"], INNER["lm_head.weight"] + plus)
    with pytest.raises(InvariantBroken, match="no part 'swa' with weights; there is model, ema"):
        read_weights(f"{tmp_path}/best.pt:swa")
    fetched = fetch(f"{tmp_path}/best.pt:ema", tmp_path / "here")
    assert read_weights(fetched.checkpoint).keys() == INNER.keys()


def test_adapters_are_read_as_such(tmp_path: Path) -> None:
    torch.save({"model.inner.lm_head._lora_A": torch.ones(2, 2)}, tmp_path / "step_3_adapters")
    assert read_adapters(tmp_path / "step_3_adapters").keys() == {"lm_head._lora_A"}


def test_writing_to_what_was_read_changes_no_file(tmp_path: Path) -> None:
    torch.save(OURS, tmp_path / "step_1")
    before = (tmp_path / "step_1").read_bytes()
    read_weights(tmp_path / "step_1")["H_init"].fill_(7)
    assert (tmp_path / "step_1").read_bytes() == before


@pytest.mark.parametrize(
    "write", [saved, safetensors, lambda state: saved(state, _use_new_zipfile_serialization=False)]
)
def test_the_places_are_where_the_values_are(write: Callable[[State], bytes], tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(data := write(OURS))
    for name, tensor in read_content(tmp_path / "x").items():
        assert tensor.shape == tuple(OURS[name].shape)
        assert data[tensor.begin : tensor.begin + tensor.bytes] == OURS[name].numpy().tobytes()


CHOSEN: dict[tuple[str, ...], tuple[str, str | None]] = {
    ("step_9", "step_10", "all_config.yaml"): ("step_10", "all_config.yaml"),
    ("model.ckpt", "model.safetensors", "step_7"): ("model.ckpt", None),
    ("step_5.safetensors", "step_5"): ("step_5", None),
    ("pytorch_model.bin",): ("pytorch_model.bin", None),
    ("checkpoint",): ("checkpoint", None),
    ("trm_arc2.pt", "optimizer.pt", "training_args.bin"): ("trm_arc2.pt", None),
    ("maze_hard_step_46", "step_46_all_preds.0", "step_46_adapters"): ("maze_hard_step_46", None),
    ("arc2/step_3", "arc2/all_config.yaml"): ("arc2/step_3", "arc2/all_config.yaml"),
    ("weights/step_3", "all_config.yaml"): ("weights/step_3", "all_config.yaml"),
    ("step_9_ema.pt", "step_10.pt", "step_10.safetensors"): ("step_10.pt", None),
}


@pytest.mark.parametrize("names", CHOSEN)
def test_which_file_holds_the_weights(names: tuple[str, ...]) -> None:
    found = find_weights(["README.md", "trm.py", ".gitattributes", *names])
    assert (found.file, found.config) == CHOSEN[names]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["README.md", "losses.py"], "no weights among: README.md"),
        ([], "no weights among: no files"),
        (["v1/step_9", "v2/step_3"], "2 runs lie side by side: v1 (step_9), v2 (step_3)"),
        (["a.pt", "b.pt"], "several files may hold the weights: a.pt, b.pt"),
        (["step_9", "step_9_ema.pt", "step_8"], "several files may hold the weights: step_9, step_9_ema.pt"),
        ([".metadata", "__0_0.distcp"], "the weights are in pieces: __0_0.distcp"),
        (["model-00001-of-00002.safetensors", "model.safetensors.index.json"], "the weights are in pieces"),
    ],
)
def test_where_the_weights_cannot_be_told(names: list[str], said: str) -> None:
    with pytest.raises(ReproError) as error:
        find_weights(names)
    assert said in str(error.value) and error.value.hint


def test_of_runs_side_by_side_the_named_one_comes(tmp_path: Path) -> None:
    for run in ("arc_v1", "arc_v2"):
        (tmp_path / "both" / run).mkdir(parents=True)
        torch.save(OURS, tmp_path / "both" / run / "step_3")
    with pytest.raises(InvariantBroken, match="2 runs lie side by side"):
        fetch(str(tmp_path / "both"), tmp_path / "here")
    assert fetch(str(tmp_path / "both/arc_v2"), tmp_path / "here").checkpoint == tmp_path / "here/step_3"


def placed(folder: Path, **arch: Any) -> Path:
    """A run's folder with weights, and a configuration that is theirs but for what is given."""
    folder.mkdir(exist_ok=True)
    (folder / "step_1").write_bytes(saved(OURS))
    write_json(folder / "all_config.yaml", {"arch": ARCH.model_dump() | arch})
    return folder


@pytest.mark.parametrize(
    ("arch", "said"),
    [
        ({"hidden_size": 10**6}, "does not fit the model"),
        ({"puzzle_emb_ndim": 10**6, "hidden_size": 10**6}, "does not fit the model"),
        ({"expansion": 999.0}, "does not fit the model"),
        *(({key: 10**9}, f"arch.{key} is {10**9}") for key in ("H_cycles", "L_cycles", "L_layers", "halt_max_steps")),
        *(({key: 10**9}, f"arch.{key} is {10**9}") for key in ("num_heads", "puzzle_emb_len", "hidden_size")),
        ({"expansion": 1e9}, "arch.expansion is"),
        ({"expansion": -4.0}, "arch.expansion is"),
        ({"num_heads": 0}, "arch.num_heads is 0"),
        ({"num_heads": -2}, "arch.num_heads is -2"),
    ],
)
def test_a_configuration_of_another_model_costs_nothing(arch: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(ReproError, match=said) as error:
        load_checkpoint(placed(tmp_path / "run", **arch), seq_len=9)
    assert len(str(error.value)) < 3000


def test_a_configuration_above_the_weights_is_theirs_where_the_folder_is_named(tmp_path: Path) -> None:
    (placed(tmp_path) / "weights").mkdir()
    (tmp_path / "step_1").rename(tmp_path / "weights" / "step_1")
    assert locate(str(tmp_path)) == (tmp_path / "weights" / "step_1", tmp_path / "all_config.yaml")
    assert load_checkpoint(tmp_path, seq_len=9).config.hidden_size == 16
    fetched = fetch(str(tmp_path), tmp_path / "here")
    assert any("lies above it, as all_config.yaml" in note for note in fetched.notes)


@pytest.mark.parametrize("name", ["weights", "final.pkl", "model-00001-of-00001.safetensors"])
def test_a_file_of_any_name_can_be_named(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(saved(OURS))
    assert fetch(str(tmp_path / name), tmp_path / "here").checkpoint.name == name


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"<html>", b"", None])
def test_a_digest_of_identifiers_that_is_none_is_not_believed(content: bytes | None, tmp_path: Path) -> None:
    write_json(tmp_path / "identifiers.json", ["<blank>", "a", "b"])
    (folder := tmp_path / "run").mkdir()
    if content is None:
        os.mkfifo(folder / "identifiers.sha256")  # nobody writes into it
    else:
        (folder / "identifiers.sha256").write_bytes(content)
    assert know_same_puzzles(folder, tmp_path) is (None if content is None else False)


@pytest.mark.parametrize("value", [5, {"a": 1}, [1], None])
def test_identifiers_that_are_none_are_refused(value: Any, tmp_path: Path) -> None:
    write_json(placed(tmp_path / "run") / "identifiers.json", value)
    with pytest.raises(InvariantBroken, match=r"identifiers\.json: not a JSON list of texts"):
        fetch(str(tmp_path / "run"), tmp_path / "here")


def test_what_a_stranger_wrote_steers_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"\x1b]0;x\x07\x1b[31mred\nhint: run this": torch.ones(1)}, tmp_path / "step_1")
    assert main(["fetch-weights", str(tmp_path), "--output", str(tmp_path / "here")]) == 4
    assert r"it has \x1b]0;x\x07\x1b[31mred" in (said := capsys.readouterr().err) and "\x1b" not in said
