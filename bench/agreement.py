"""How far this engine is from upstream's own model, in configurations that tests/golden does not hold.

    python -m bench.agreement --upstream CHECKOUT [--onednn] [--json FILE]

Both start from upstream's initial weights (puzzle vectors and q head made random, as they would otherwise be zero) and see
the same batches, with the same draws of exploration. Each row is one configuration and gives the largest difference,
relative to the largest magnitude (at least 1): of the loss over four training steps with their carry, of the gradients of
the first step (parameters and puzzle vectors), of the logits at the end of an evaluation. Which rows halt, after how many
steps, must be equal in any case.

Both multiply with PyTorch's products, and then nothing but a difference in what is computed can tell them apart: exit 0
when every row is within 1e-6, 1 otherwise. --onednn lets ours use the faster products, to see what their rounding does;
nothing is judged then.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from bench import upstream
from torch import Tensor

from trm_repro.engine import checkpoint, onednn
from trm_repro.engine.act import Batch, Carry, fresh_carry, load_rows
from trm_repro.engine.config import ArchConfig, PretrainConfig
from trm_repro.engine.data import Metadata
from trm_repro.engine.evaluate import answer
from trm_repro.engine.loss import IGNORE
from trm_repro.engine.model import TRM, ModelConfig
from trm_repro.engine.train import Training
from trm_repro.engine.world import World

ROWS, TOKENS, PUZZLES, STEPS = 6, 20, 9, 4
CPU = torch.device("cpu")
ERRORS, TOLERANCE = ("loss", "gradient", "evaluation"), 1e-6
SMALL = {"hidden_size": 32, "num_heads": 4, "puzzle_emb_ndim": 32, "puzzle_emb_len": 2, "forward_dtype": "float32"}
# each differs from SMALL and the ARC defaults in what it names; the cases of tests/golden are not repeated
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "ARC's cycles": {"L_cycles": 4, "halt_max_steps": 16},
    "one cycle of each": {"H_cycles": 1, "L_cycles": 1},
    "many cycles": {"H_cycles": 4, "L_cycles": 6},
    "one layer": {"L_layers": 1},
    "three layers": {"L_layers": 3},
    "one head": {"num_heads": 1},
    "heads of two channels": {"num_heads": 16},
    "a hidden size that is no power of two": {"hidden_size": 48, "num_heads": 3, "puzzle_emb_ndim": 48},
    "a fractional expansion": {"expansion": 1.7},
    "no positions": {"pos_encodings": "none"},
    "learned positions, no puzzle vectors": {"pos_encodings": "learned", "puzzle_emb_ndim": 0, "puzzle_emb_len": 0},
    "no puzzle vectors": {"puzzle_emb_ndim": 0, "puzzle_emb_len": 0},
    "slots by the vector's width": {"puzzle_emb_ndim": 80, "puzzle_emb_len": 0},
    "sixteen slots": {"puzzle_emb_len": 16},
    "one supervision step": {"halt_max_steps": 1},
    "two supervision steps": {"halt_max_steps": 2},
    "exploration in every row": {"halt_exploration_prob": 1.0},
    "Sudoku's vocabulary": {"vocab_size": 11, "puzzle_emb_len": 16},
    "MLP mixer without positions": {"mlp_t": True, "pos_encodings": "none", "H_cycles": 2, "L_cycles": 2},
    "MLP mixer, learned positions": {"mlp_t": True, "pos_encodings": "learned", "H_cycles": 2, "L_cycles": 2},
    "bfloat16": {"forward_dtype": "bfloat16", "H_cycles": 2, "L_cycles": 2},
    "the paper's width": {"hidden_size": 512, "num_heads": 8, "puzzle_emb_ndim": 512, "puzzle_emb_len": 16},
}


def arch_of(changes: dict[str, Any]) -> tuple[ArchConfig, ModelConfig]:
    """The architecture as our configuration and as the model's."""
    values = {"L_cycles": 2, "halt_max_steps": 4, "halt_exploration_prob": 0.5, **SMALL, **changes}
    vocabulary = values.pop("vocab_size", 12)
    arch = ArchConfig(**values)
    return arch, arch.sized(vocabulary, TOKENS, PUZZLES)


def batches(vocabulary: int, generator: torch.Generator) -> list[Batch]:
    """Random examples; some labels are ignored, and one row of the second batch is padding."""

    def draw(*shape: int, below: int) -> Tensor:
        return torch.randint(0, below, shape, generator=generator).int()

    made = []
    for number in range(STEPS):
        labels = draw(ROWS, TOKENS, below=vocabulary)
        labels[draw(ROWS, TOKENS, below=4) == 0] = IGNORE
        if number == 1:
            labels[-1] = IGNORE
        made.append(Batch(draw(ROWS, TOKENS, below=vocabulary), labels, draw(ROWS, below=PUZZLES)))
    return made


def error(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the larger of 1 and the expected magnitude."""
    expected = expected.detach().double()
    return float((found.detach().double() - expected).abs().max() / expected.abs().max().clamp_min(1.0))


def compare(changes: dict[str, Any], seed: int) -> dict[str, float | bool]:
    """One configuration, ours beside upstream's."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    arch, config = arch_of(changes)
    theirs = upstream.build(config, ROWS, CPU)
    for name, tensor in theirs.state_dict().items():
        if name.endswith(("puzzle_emb.weights", "q_head.weight", "q_head.bias")):
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.5)
    model = TRM(config)
    checkpoint.load_weights(model, upstream.by_our_names(theirs.state_dict().items()), source="upstream")
    settings = PretrainConfig(
        arch=arch, data_paths=["unused"], global_batch_size=ROWS, epochs=1, lr=0, lr_warmup_steps=0,
        weight_decay=0, puzzle_emb_lr=0, puzzle_emb_weight_decay=0,
    )  # fmt: skip
    data = Metadata(0, 0, 0, config.vocab_size, TOKENS, PUZZLES, 1, 1.0, 1, ())
    ours = Training(settings, model, data, World(0, 1, CPU))

    examples = batches(config.vocab_size, generator)
    row: dict[str, float | bool] = {"loss": 0.0, "gradient": 0.0, "same_rows": True}
    theirs.train()
    their_carry, carry = theirs.initial_carry(upstream.batch_of(examples[0])), fresh_carry(model, examples[0])
    for number, batch in enumerate(examples):
        torch.manual_seed(seed + number)
        their_carry, their_loss, *_ = theirs(carry=their_carry, batch=upstream.batch_of(batch), return_keys=[])
        (their_loss / ROWS).backward()
        ours.generator.manual_seed(seed + number)
        carry = load_rows(model, carry, batch)
        vectors = model.puzzle_vectors(carry.batch.puzzle_identifiers).requires_grad_()
        sums, carry = ours._forward_backward(carry, vectors)
        row["loss"] = max(row["loss"], error(sums[-2] + 0.5 * sums[-1], their_loss))
        row["same_rows"] &= same_rows(carry, their_carry)
        if number == 0:
            row["gradient"] = gradient_error(model, vectors, theirs)
        theirs.zero_grad()
        ours.flat.grad.zero_()

    theirs.eval()
    with torch.no_grad():
        their_carry, done = theirs.initial_carry(upstream.batch_of(examples[0])), False
        while not done:
            their_carry, _, _, outputs, done = theirs(
                carry=their_carry, batch=upstream.batch_of(examples[0]), return_keys=["logits", "q_halt_logits"]
            )
    logits, q_halt = answer(model, examples[0])
    row["evaluation"] = max(error(logits, outputs["logits"]), error(q_halt, outputs["q_halt_logits"]))
    return row


def same_rows(carry: Carry, theirs: Any) -> bool:
    """Whether the same rows halt, after the same number of steps, with the same examples."""
    return (
        torch.equal(carry.halted, theirs.halted)
        and torch.equal(carry.steps, theirs.steps)
        and torch.equal(carry.batch.inputs, theirs.current_data["inputs"])
    )


def gradient_error(model: TRM, vectors: Tensor, theirs: Any) -> float:
    """The largest difference of the gradients of parameters and of the batch's puzzle vectors."""
    expected = upstream.by_our_names(theirs.named_parameters())
    errors = [error(p.grad, expected[name].grad) for name, p in model.named_parameters() if p.grad is not None]
    local = [tensor for name, tensor in theirs.named_buffers() if name.endswith("local_weights")]
    if local:
        assert vectors.grad is not None
        errors.append(error(vectors.grad, local[0].grad))
    return max(errors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, metavar="CHECKOUT", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--onednn", action="store_true")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    onednn.AVAILABLE &= arguments.onednn
    torch.set_num_threads(1)  # the matrices are small
    upstream.use(arguments.upstream)
    rows = {}
    print(f"{'configuration':40} {'loss':>8} {'gradient':>9} {'evaluation':>10}  rows")
    for name, changes in CONFIGURATIONS.items():
        rows[name] = row = compare(changes, arguments.seed)
        row["agrees"] = bool(row["same_rows"]) and max(row[what] for what in ERRORS) < TOLERANCE
        print(
            f"{name:40} {row['loss']:8.1e} {row['gradient']:9.1e} {row['evaluation']:10.1e}  "
            f"{'equal' if row['same_rows'] else 'DIFFERENT'}{'' if row['agrees'] or arguments.onednn else '  NO'}"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps({"torch": torch.__version__, "rows": rows}, indent=2) + "\n")
    sys.exit(not arguments.onednn and not all(row["agrees"] for row in rows.values()))


if __name__ == "__main__":
    main()
