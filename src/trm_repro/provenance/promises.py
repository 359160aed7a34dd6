"""What a recipe promises about what its training leaves: the configuration, the tensors, the number of steps.

Everything is computed from the recipe in a manifest and from upstream's documented defaults, without PyTorch.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import PurePosixPath
from typing import Any

import yaml

from trm_repro.errors import InvariantBroken, MissingPrerequisite
from trm_repro.files import parse_yaml
from trm_repro.provenance.faithful import TRAIN, command_problems, expected_command
from trm_repro.recipes.read import merge
from trm_repro.runs.checkpoints import checkpoint_name
from trm_repro.runs.schedule import Settings, swiglu_width
from trm_repro.weights.stored import Tensor

# Keys of a training configuration that upstream has; the reference engine's own decide how it computes, not what.
UPSTREAM_KEYS = (
    *("data_paths", "data_paths_test", "evaluators", "global_batch_size", "epochs", "eval_interval"),
    *("checkpoint_every_eval", "lr", "lr_min_ratio", "lr_warmup_steps", "beta1", "beta2", "weight_decay"),
    *("puzzle_emb_weight_decay", "puzzle_emb_lr", "seed", "min_eval_interval", "ema", "ema_rate", "freeze_weights"),
)
# Vocabulary and positions of each kind of puzzle: they are the dataset's, not the configuration's.
PUZZLES = {"arc": (12, 900), "sudoku": (11, 81), "maze": (6, 900)}
DTYPES = {"bfloat16": "BF16", "float32": "F32", "float16": "F16"}
REFERENCE = re.compile(r"\$\{\.(\w+)\}")
COMMAND, PLACES = 1 << 16, 8  # the characters of a training command, and the depth of what a word of it sets, at most
LAYERS, WIDTH = 1000, 1 << 24  # of a model, at most
SLACK = 0.05  # of the planned number of steps; upstream's own plan is 0.3 % below what the paper's data gives


class _Loader(yaml.SafeLoader):
    """YAML as Hydra reads it: ``1e-4`` is a number, and a date is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if not tag.endswith(":timestamp")]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9][0-9_]*(?:\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def expected_config(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """What the training configuration must hold: the command's words, on top of the defaults where those are known.

    They are known for Samsung's code and ours, which has the same; forks have others, and some read another file. Of
    architectures, TRM's file is known.
    """
    words = _overrides(manifest)
    given = _nested(word for word in words if not word.startswith("arch="))
    layers = [given]
    recipe = manifest["recipe"]["resolved"]
    if not recipe["train"].get("config") and (recipe["upstream"] or {}).get("name", "samsung") == "samsung":
        layers.insert(0, _known("cfg_pretrain"))
        if {word for word in words if word.startswith("arch=")} <= {"arch=trm"}:
            layers.insert(1, {"arch": _known("arch/trm")})
    merged = _filled(functools.reduce(merge, layers))
    adapters = given.get("arch", {})  # upstream knows none; its forks write their keys only where they use them
    arch = {k: v for k, v in merged.get("arch", {}).items() if not k.startswith("lora_") or k in adapters}
    wanted = {*UPSTREAM_KEYS, *given}
    return {key: value for key, value in merged.items() if key in wanted} | ({"arch": arch} if arch else {})


def _overrides(manifest: Mapping[str, Any]) -> list[str]:
    """The ``key=value`` words of the training command."""
    words = [word.lstrip("+") for word in training_command(manifest) if "=" in word and word[0] != "-"]
    if sum(map(len, words)) > COMMAND:
        raise InvariantBroken(f"the training command has more than {COMMAND:,} characters")
    return words


def _nested(words: Iterable[str]) -> dict[str, Any]:
    """``key.key=value`` words as one mapping."""
    found: dict[str, Any] = {}
    for word in words:
        path, _, value = word.partition("=")
        inner = found
        *places, key = path.split(".")
        for place in places[:PLACES]:
            inner = inner.setdefault(place, {}) if isinstance(inner, dict) else {}
        if places[PLACES:] or not isinstance(inner, dict):
            raise InvariantBroken(f"the training command sets {path[:80]}, which cannot be")
        inner[key] = parse_yaml(value.encode(errors="replace"), f"the training command's {path[:80]}", _Loader)
    return found


def _filled(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration whose ``${.key}`` are what stands beside them under that key, as Hydra fills them in."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return _filled(value)
        found = REFERENCE.fullmatch(value) if isinstance(value, str) else None
        return values[found[1]] if found else value

    return {key: filled(value) for key, value in values.items()}


def known_config(config: str | None) -> dict[str, Any]:
    """The engine's file of the name of an upstream's configuration file: their schedules are the same."""
    return _known(PurePosixPath(config or "cfg_pretrain").stem)


def _known(name: str) -> dict[str, Any]:
    """One of the reference engine's configuration files on top of those it names. Not through the engine: that is PyTorch."""
    file: dict[str, Any] = yaml.load((files("trm_repro") / f"engine/config/{name}.yaml").read_text(), _Loader)
    bases = [base for base in file.pop("defaults", []) if isinstance(base, str) and base != "_self_"]
    return functools.reduce(merge, [*map(_known, bases), file])


def whole_arch(arch: Mapping[str, Any]) -> dict[str, Any]:
    """The part ``arch`` of a training configuration of TRM, with upstream's defaults where it is silent."""
    return _filled({**_known("arch/trm"), **arch})


def training_command(manifest: Mapping[str, Any]) -> list[str]:
    """The training command on record; the recipe's where there is none."""
    ran = [entry["argv"] for entry in manifest["commands"] if entry["step"] == TRAIN and entry["exit_code"] == 0]
    return max(ran, key=len) if ran else expected_command(manifest, TRAIN, [])


def config_problems(expected: Mapping[str, Any], found: Any) -> list[str]:
    """Where a training configuration is not what it was to be, one line a key."""
    return _differences("", dict(expected), found)


def _differences(where: str, expected: Any, found: Any) -> list[str]:
    if isinstance(expected, dict):
        if not isinstance(found, dict):
            return [f"{where or 'configuration'}: not a mapping"]
        lines = []
        for key, value in expected.items():
            place = f"{where}.{key}" if where else str(key)
            lines += _differences(place, value, found[key]) if key in found else [f"{place}: missing"]
        return lines
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(expected, found, strict=True))
        return [line for i, (one, other) in pairs for line in _differences(f"{where}.{i}", one, other)]
    return [] if expected == found else [f"{where}: expected {_short(expected)}, found {_short(found)}"]


def _short(value: Any) -> str:
    """A value for a message; a stranger's anchors can make a short text stand for a long one."""
    return repr(value) if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"


def is_trm(arch: Mapping[str, Any]) -> bool:
    """Whether the part ``arch`` of a training configuration is TRM's; the tensors of others are not known here."""
    return str(arch["name"]).partition("@")[0].endswith(".trm")


def expected_tensors(arch: Mapping[str, Any], target: str, identifiers: int) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The tensors of a checkpoint of TRM, by name without prefix: dtype and shape.

    Args:
        arch: the part ``arch`` of the training configuration.
        target: the kind of puzzle, such as ``arc2``.
        identifiers: the number of puzzle identifiers, the blank one included.
    """
    known = [value for kind, value in PUZZLES.items() if target.startswith(kind)]
    if not known:
        raise MissingPrerequisite(f"the tensors of a model of {target[:80]} are not known here")
    _check_sizes(arch)
    vocabulary, positions = known[0]
    width, expansion = arch["hidden_size"], arch["expansion"]
    slots = arch["puzzle_emb_len"] or -(-arch["puzzle_emb_ndim"] // width)
    length = positions + slots
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {
        "H_init": (DTYPES[arch["forward_dtype"]], (width,)),
        "L_init": (DTYPES[arch["forward_dtype"]], (width,)),
        "embed_tokens.embedding_weight": ("F32", (vocabulary, width)),
        "lm_head.weight": ("F32", (vocabulary, width)),
        "q_head.weight": ("F32", (2, width)),
        "q_head.bias": ("F32", (2,)),
    }
    if arch["puzzle_emb_ndim"]:
        tensors["puzzle_emb.weights"] = ("F32", (identifiers, arch["puzzle_emb_ndim"]))
    if arch["pos_encodings"] == "learned":
        tensors["embed_pos.embedding_weight"] = ("F32", (length, width))
    for layer in range(arch["L_layers"]):
        block = f"L_level.layers.{layer}"
        if arch["mlp_t"]:
            tensors |= _swiglu(f"{block}.mlp_t", length, expansion)
        else:
            tensors[f"{block}.self_attn.qkv_proj.weight"] = ("F32", (3 * width, width))
            tensors[f"{block}.self_attn.o_proj.weight"] = ("F32", (width, width))
        tensors |= _swiglu(f"{block}.mlp", width, expansion)
    return tensors


def _check_sizes(arch: Mapping[str, Any]) -> None:
    """Whether the numbers that give a model its shape are ones: what reads them counts up to them."""
    most = {
        "L_layers": LAYERS,
        "hidden_size": WIDTH,
        "puzzle_emb_ndim": WIDTH,
        "puzzle_emb_len": WIDTH,
        "expansion": WIDTH,
    }
    for key, limit in most.items():
        value = arch.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
            raise InvariantBroken(f"arch.{key} is {str(value)[:80]}, not a number from 0 to {limit}")
        if key != "expansion" and not isinstance(value, int):
            raise InvariantBroken(f"arch.{key} is {value}, not a whole number")
    if not arch["hidden_size"] or arch.get("forward_dtype") not in DTYPES:
        raise InvariantBroken("arch.hidden_size is 0, or arch.forward_dtype is no type that is known")


def tensor_problems(arch: Mapping[str, Any], target: str, identifiers: int, found: Mapping[str, Tensor]) -> list[str]:
    """Where the tensors of a checkpoint of TRM are not what its configuration describes, one line each; adapters aside.

    Args:
        found: by name without prefix.
    """
    expected = expected_tensors(arch, target, identifiers)
    own = {name: (tensor.dtype, tensor.shape) for name, tensor in found.items()}
    if arch.get("lora_rank"):
        own = {name: tensor for name, tensor in own.items() if not name.endswith(("_lora_A", "_lora_B"))}
    return [
        f"{name}: expected {_shown(expected.get(name))}, found {_shown(own.get(name))}"
        for name in sorted(expected.keys() | own.keys())
        if expected.get(name) != own.get(name)
    ]


def _shown(tensor: tuple[str, tuple[int, ...]] | None) -> str:
    return f"{tensor[0]} {list(tensor[1])}" if tensor else "none"


def _swiglu(name: str, width: int, expansion: float) -> dict[str, tuple[str, tuple[int, ...]]]:
    inner = swiglu_width(width, expansion)
    return {
        f"{name}.gate_up_proj.weight": ("F32", (2 * inner, width)),
        f"{name}.down_proj.weight": ("F32", (width, inner)),
    }


def settings(config: str | None, words: Iterable[str]) -> Settings:
    """What the words of a training command say of its schedule, or else upstream's configuration file."""
    return Settings.from_overrides([*(f"{key}={value}" for key, value in known_config(config).items()), *words])


def step_range(plan: Settings, groups: int, mean: float, epochs: int) -> tuple[float, float]:
    """The fewest and the most steps that so many epochs can take.

    Args:
        plan: the training's settings.
        groups: tasks with their variants.
        mean: training examples of a puzzle, on average.
        epochs: so many of them.
    """
    drawn, batch = epochs * groups * mean, plan.global_batch_size
    least, most = (1 - SLACK) * drawn / (batch + 2 * mean), (1 + SLACK) * drawn / batch
    return least - epochs // plan.eval_interval, most  # each interval drops its last, incomplete batch


def step_problems(manifest: Mapping[str, Any], steps: Sequence[int]) -> list[str]:
    """Whether checkpoints of these steps can come from this dataset with this command.

    A recipe that knows its steps is taken at its word, as long as its command ran. Otherwise the last number must be near
    upstream's plan, examples drawn / batch: an epoch visits each group once and draws one of its puzzles, and every batch
    cuts off a part of its last puzzle, twice the mean puzzle at most in the mean.
    """
    known = manifest["recipe"]["resolved"]["expected"]["steps"]
    if known and not command_problems(manifest, TRAIN):
        lines = [
            f"{checkpoint_name(step)}: the recipe's run writes none of that number"
            for step in steps
            if step not in known
        ]
        return lines + ([f"{checkpoint_name(known[-1])}: the last one is missing"] if known[-1] not in steps else [])
    rows = {entry["path"].rpartition("/train/")[2]: entry.get("rows") or 0 for entry in manifest["outputs"]}
    plan = settings(manifest["recipe"]["resolved"]["train"].get("config"), _overrides(manifest))
    groups = rows.get("all__group_indices.npy", 1) - 1
    puzzles, examples = rows.get("all__puzzle_identifiers.npy", 0), rows.get("all__inputs.npy", 0)
    if groups < 1 or not puzzles or not steps:
        return ["the manifest counts no training puzzles, or no checkpoints"]
    least, most = step_range(plan, groups, examples / puzzles, plan.epochs)
    if not least <= steps[-1] <= most:
        return [f"{checkpoint_name(steps[-1])}: {least:.0f} to {most:.0f} steps fit the dataset and the command"]
    return []
