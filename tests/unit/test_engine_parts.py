"""The parts of the engine, each against its definition."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from engine_support import ALONE, Golden, distance, write_dataset
from hypothesis import given, settings
from hypothesis import strategies as st

from trm_repro.engine import layers, onednn
from trm_repro.engine.act import Batch, Carry, draw_minimum_steps, fresh_carry, halts, load_rows
from trm_repro.engine.config import ArchConfig
from trm_repro.engine.data import Sampler, Split, evaluation_batches
from trm_repro.engine.failures import check_loss, explained
from trm_repro.engine.loss import IGNORE, METRICS, log_stablemax, loss_and_metrics
from trm_repro.engine.model import TRM, State
from trm_repro.engine.optim import AdamATan2, FlatParameters, WeightAverage, learning_rate, sign_descent
from trm_repro.engine.world import threads_per_process
from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, ReproError, UsageError

SMALL = {"hidden_size": 8, "num_heads": 2, "puzzle_emb_ndim": 8, "puzzle_emb_len": 1, "forward_dtype": "float32"}
SMALL |= {"halt_max_steps": 3, "expansion": 1}


def small(**changes):
    """What a small model with some changes depends on."""
    return ArchConfig(**SMALL | changes).sized(vocab_size=5, seq_len=6, num_puzzle_identifiers=7)


# --- layers ----------------------------------------------------------------------------------------------------------


def test_truncated_normal_has_the_std_asked_for_and_no_tails():
    sample = layers.truncated_normal((400_000,), std=0.3)
    assert sample.std() == pytest.approx(0.3, rel=5e-3)
    assert sample.abs().max() <= 0.3 * 2 / layers.CUT_STD + 1e-6
    assert pytest.approx(0.8796, abs=1e-4) == layers.CUT_STD


def test_swiglu_rounds_its_width_up():
    assert layers.SwiGLU(48, 9).down_proj.weight.shape == (48, 512)  # round(288) to 512
    assert layers.SwiGLU(512, 4).down_proj.weight.shape == (512, 1536)  # round(1365.3) to 1536


def test_rotation_keeps_length_and_depends_on_distance_alone():
    rotary = layers.rotary_table(9, 4)
    q, k = torch.randn(2, 1, 1, 1, 4).unbind()
    turned_q, turned_k = (layers.rotate(x.expand(1, 1, 9, 4), rotary)[0, 0] for x in (q, k))
    assert torch.allclose(turned_q.norm(dim=-1), q.norm().expand(9), atol=1e-5)
    products = turned_q @ turned_k.t()
    assert torch.allclose(products[0, 3], products[4, 7], atol=1e-5)


@pytest.mark.skipif(not onednn.AVAILABLE, reason="this PyTorch has no oneDNN")
def test_a_bfloat16_product_is_the_float32_product_rounded():
    """Forward and backward, as bfloat16 instructions would have it; and much nearer than bfloat16 sums would come."""
    torch.manual_seed(0)
    x, w, g = torch.randn(3, 10, 600).bfloat16(), torch.randn(4, 600).bfloat16(), torch.randn(3, 10, 4).bfloat16()
    found, exact = ([a.to(dtype, copy=True).requires_grad_() for a in (x, w)] for dtype in (x.dtype, torch.float64))
    out, wanted = onednn.linear(*found), torch.nn.functional.linear(*exact)
    out.backward(g)
    wanted.backward(g.double())
    for one, other in ((out, wanted), *((a.grad, b.grad) for a, b in zip(found, exact, strict=True))):
        assert one.dtype == torch.bfloat16
        assert torch.allclose(one.double(), other, rtol=2**-8, atol=1e-4)


@pytest.mark.skipif(not onednn.BFLOAT16, reason="this processor has no bfloat16 instructions, or many cores")
def test_attention_in_bfloat16_is_as_exact_as_pytorchs():
    torch.manual_seed(0)
    heads = [2 * torch.randn(1, 2, 700, 64).bfloat16() for _ in range(3)]
    assert not onednn.suits_attention(heads[0])  # with gradient, where it is no faster
    with torch.no_grad():
        assert onednn.suits_attention(heads[0]) and not onednn.suits_attention(heads[0][:, :, :97])
        pytorchs = torch.nn.functional.scaled_dot_product_attention
        exact = pytorchs(*(tensor.double() for tensor in heads))
        ours, theirs = onednn.attention(*heads), pytorchs(*heads)
    assert ours.dtype == torch.bfloat16 and distance(ours.float(), exact) <= distance(theirs.float(), exact)


@pytest.mark.skipif(not onednn.AVAILABLE, reason="this PyTorch has no oneDNN")
def test_onednn_computes_what_pytorch_computes():
    torch.manual_seed(0)
    x, w, g = torch.randn(3, 10, 6), torch.randn(4, 6), torch.randn(3, 10, 4)
    for args, ours, theirs in (
        ((x, w), onednn.linear, torch.nn.functional.linear),
        (tuple(torch.randn(2, 3, 11, 4)[None].expand(3, -1, -1, -1, -1).clone().unbind()), onednn.attention, None),
    ):
        theirs = theirs or torch.nn.functional.scaled_dot_product_attention
        found, expected = ([a.clone().requires_grad_() for a in args] for _ in range(2))
        out, wanted = ours(*found), theirs(*expected)
        assert torch.allclose(out, wanted, atol=1e-5)
        direction = g if out.shape == g.shape else torch.randn_like(out)
        out.backward(direction)
        wanted.backward(direction)
        for one, other in zip(found, expected, strict=True):
            assert torch.allclose(one.grad, other.grad, atol=1e-5)


@pytest.mark.deep
@pytest.mark.parametrize("case", ["attention_rope", "bfloat16"])
def test_the_step_compiles_whole(case):
    """As one graph, without a break, and to the same numbers."""
    golden = Golden(case)
    losses = []
    for compiled in (False, True):
        training = golden.training()
        if compiled:
            whole = {"dynamic": False, "fullgraph": True, "backend": "aot_eager"}
            training._supervision_step = torch.compile(training._supervision_step, **whole)
        losses.append([training.train_step(golden.batch(step))["train/lm_loss"] for step in range(2)])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5 if case == "attention_rope" else 1e-2)


# --- model configuration ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"puzzle_emb_ndim": 9}, "does not fit"),
        ({"puzzle_emb_ndim": 0}, "must be 0 too"),
        ({"pos_encodings": "sin"}, "can be rope, learned or none"),
        ({"forward_dtype": "int8"}, "float32"),
        ({"num_heads": 3}, "heads"),
        ({"L_cycles": 0}, "at least 1"),
    ],
)
def test_configurations_that_do_not_fit_together_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        small(**changes)


def test_zero_slots_means_as_many_as_the_vector_needs():
    assert small(puzzle_emb_len=0, puzzle_emb_ndim=20).puzzle_slots == 3
    model = TRM(small(puzzle_emb_len=0, puzzle_emb_ndim=0))
    assert model.config.puzzle_slots == 0
    state, logits, _ = model(model.initial_state(2), torch.ones(2, 6).int(), model.puzzle_vectors(torch.zeros(2).int()))
    assert logits.shape == (2, 6, 5) and state.z_H.shape == (2, 6, 8)


# --- adaptive computation --------------------------------------------------------------------------------------------


def batch_of(rows, start):
    tokens = (torch.arange(rows)[:, None] + torch.zeros(1, 6)).int() + start
    return Batch(tokens, tokens + 1, tokens[:, 0])


def test_only_halted_rows_take_the_new_batch():
    model = TRM(small())
    carry = load_rows(model, fresh_carry(model, batch_of(3, 0)), batch_of(3, 0))
    assert carry.batch.puzzle_identifiers.tolist() == [0, 1, 2] and carry.steps.tolist() == [0, 0, 0]
    marked = State(carry.state.z_H + 1, carry.state.z_L + 1)
    halted = torch.tensor([True, False, True])
    carry = load_rows(model, Carry(marked, torch.tensor([2, 2, 2]).int(), halted, carry.batch), batch_of(3, 10))
    assert carry.batch.puzzle_identifiers.tolist() == [10, 1, 12]
    assert carry.batch.inputs[:, 0].tolist() == [10, 1, 12] and carry.batch.labels[:, 0].tolist() == [11, 2, 13]
    assert carry.steps.tolist() == [0, 2, 0]
    assert torch.equal(carry.state.z_H[0], model.H_init.expand(7, 8))
    assert torch.equal(carry.state.z_L[1], model.L_init.expand(7, 8) + 1)


def test_halting():
    steps, q = torch.tensor([1, 2, 3, 3]).int(), torch.tensor([1.0, -1.0, -1.0, 1.0])
    free = torch.zeros(4).int()
    assert halts(steps, q, 3, free).tolist() == [True, False, True, True]
    assert halts(steps, q, 3, None).tolist() == [False, False, True, True]
    assert halts(steps, q, 3, torch.tensor([2, 0, 3, 0]).int()).tolist() == [False, False, True, True]


def test_exploration_draws_two_to_the_maximum_uniformly():
    draws = draw_minimum_steps(20_000, 4, 0.3, torch.Generator().manual_seed(0))
    assert draws.dtype == torch.int32
    assert (draws > 0).float().mean() == pytest.approx(0.3, abs=0.02)
    assert [(draws == n).float().mean().item() for n in (2, 3, 4)] == pytest.approx([0.1] * 3, abs=0.01)
    assert set(draws.tolist()) == {0, 2, 3, 4}


def test_exploration_draws_the_uniform_numbers_first():
    torch.manual_seed(3)
    explores = torch.rand(50) < 0.5
    steps = torch.randint(2, 7, (50,), dtype=torch.int32)
    torch.manual_seed(3)
    assert torch.equal(draw_minimum_steps(50, 6, 0.5), explores * steps)


# --- loss ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=8))
@settings(max_examples=50, deadline=None)
def test_stablemax_by_its_definition(values):
    s = [x + 1 if x >= 0 else 1 / (1 - x + 1e-30) for x in values]
    found = log_stablemax(torch.tensor(values))
    assert found.dtype == torch.float64
    assert found.tolist() == pytest.approx([math.log(one / sum(s)) for one in s], rel=1e-9, abs=1e-12)


def test_loss_and_metrics_by_hand():
    right, wrong = torch.tensor([0.0, 9.0, 0.0]), torch.tensor([9.0, 0.0, 0.0])
    logits = torch.stack([torch.stack([right, wrong]), torch.stack([right, right]), torch.stack([wrong, wrong])])
    labels = torch.tensor([[1, 1], [1, IGNORE], [IGNORE, IGNORE]])
    q = torch.tensor([-1.0, 2.0, 3.0])
    halted = torch.tensor([True, True, True])
    loss, sums = loss_and_metrics(logits, q, labels, torch.tensor([2, 3, 3]), halted, "stablemax_cross_entropy")
    found = dict(zip(METRICS, sums.tolist(), strict=True))
    p_right, p_wrong = math.log(10 / 12), math.log(1 / 12)
    lm = -(p_right + p_wrong) / 2 - p_right
    bce = math.log1p(math.exp(-1)) + math.log1p(math.exp(-2)) + math.log1p(math.exp(-3))  # padding counts as right
    assert found["lm_loss"] == pytest.approx(lm)
    assert found["q_halt_loss"] == pytest.approx(bce, rel=1e-5)
    assert loss.item() == pytest.approx(lm + 0.5 * bce, rel=1e-5)
    assert [found[name] for name in METRICS[:5]] == [2, 1.5, 1, 2, 5]


def test_softmax_is_supported_too():
    logits, labels, halted = torch.randn(2, 4, 5), torch.ones(2, 4).long(), torch.ones(2).bool()
    _, sums = loss_and_metrics(logits, torch.zeros(2), labels, torch.ones(2), halted, "softmax_cross_entropy")
    expected = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none").mean(-1).sum()
    assert sums[5].item() == pytest.approx(expected.item(), rel=1e-6)


# --- optimisers ------------------------------------------------------------------------------------------------------


def test_learning_rate():
    def lr(step, **changes):
        return learning_rate(2.0, **{"step": step, "warmup": 4, "total": 12, "min_ratio": 0.1, **changes})

    assert [lr(k) for k in (1, 2, 3, 4)] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    assert lr(8) == pytest.approx(2 * (0.1 + 0.45))
    assert lr(12) == pytest.approx(0.2) and lr(9, min_ratio=1.0) == 2.0
    assert lr(1, warmup=0, total=0) == pytest.approx(0.2)


def test_adam_atan2_by_its_definition():
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(torch.randn(3, 5)), torch.nn.Parameter(torch.randn(7))]
    expected = [p.detach().clone().double() for p in parameters]
    m, v = ([torch.zeros_like(p) for p in expected] for _ in range(2))
    flat = FlatParameters(parameters)
    adam = AdamATan2(flat, betas=(0.9, 0.95), weight_decay=0.1)
    for t in range(1, 4):
        gradients = [torch.randn_like(p) for p in parameters]
        sum((p * g).sum() for p, g in zip(parameters, gradients, strict=True)).backward()
        adam.step(0.01 * t)
        flat.grad.zero_()
        for i, g in enumerate(gradients):
            m[i] = 0.9 * m[i] + 0.1 * g
            v[i] = 0.95 * v[i] + 0.05 * g.double() ** 2
            scale = (v[i] / (1 - 0.95**t)).sqrt()
            expected[i] = expected[i] * (1 - 0.01 * t * 0.1) - 0.01 * t / (1 - 0.9**t) * torch.atan2(m[i], scale)
            assert torch.allclose(parameters[i].double(), expected[i], atol=1e-6)


def test_sign_descent_adds_up_equal_identifiers_and_touches_no_other_row():
    table = torch.ones(5, 2)
    grads = torch.tensor([[1.0, -1.0], [2.0, 0.0], [-3.0, 0.5]])
    sign_descent(table, torch.tensor([0, 3, 0]), grads, lr=0.1, weight_decay=0.5)
    assert torch.allclose(table[0], torch.tensor([0.95 + 0.1, 0.95 + 0.1]))
    assert torch.allclose(table[3], torch.tensor([0.95 - 0.1, 0.95]))
    assert torch.equal(table[[1, 2, 4]], torch.ones(3, 2))


def test_average_is_applied_and_taken_back_exactly():
    parameter = torch.nn.Parameter(torch.randn(100))
    flat = FlatParameters([parameter])
    average = WeightAverage(flat, 0.9)
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.add_(1.0)
    average.update()
    own = parameter.detach().clone()
    with pytest.raises(KeyError), average.applied():
        assert torch.allclose(parameter, before + 0.1, atol=1e-6)
        raise KeyError
    assert torch.equal(parameter, own)


# --- data ------------------------------------------------------------------------------------------------------------


def test_ranks_share_one_global_batch(tmp_path):
    split = Split(write_dataset(tmp_path / "toy"), "train")
    whole, *parts = (
        Sampler(split, seed=1, global_batch_size=8, epochs=3, rank=rank, world_size=size)
        for rank, size in ((0, 1), (0, 2), (1, 2))
    )
    for sampler in (whole, *parts):
        sampler.begin(1)
    batches = 0
    while (batch := whole.next()) is not None:
        rows = [sampler.next() for sampler in parts]
        assert torch.equal(batch.inputs, torch.cat([part.inputs for part in rows]))
        assert torch.equal(batch.puzzle_identifiers, torch.cat([part.puzzle_identifiers for part in rows]))
        batches += 1
    assert batches > 2 and all(sampler.next() is None for sampler in parts)


def test_batches_are_counted_beforehand(tmp_path):
    sampler = Sampler(Split(write_dataset(tmp_path / "toy"), "train"), seed=1, global_batch_size=8, epochs=3)
    drawn = 0
    for iteration in (1, 2, 3):
        sampler.begin(iteration)
        drawn += sum(1 for _ in iter(sampler.next, None))
    assert sampler.count(3) == drawn and sampler.count(3, at_most=80) is None


def test_evaluation_covers_every_example_once_and_pads(tmp_path):
    split = Split(write_dataset(tmp_path / "toy"), "test")
    seen = []
    for rank in range(3):
        for rows, batch in evaluation_batches(split, 12, rank, 3):
            assert len(batch.inputs) == 4
            assert (batch.labels[len(rows) :] == IGNORE).all() and (batch.puzzle_identifiers[len(rows) :] == 0).all()
            assert np.array_equal(batch.inputs[: len(rows)].numpy(), split.inputs[rows])
            seen += rows.tolist()
    assert sorted(seen) == list(range(len(split.inputs)))


def test_evaluation_of_a_few_augmentations_only(tmp_path):
    split = Split(write_dataset(tmp_path / "toy"), "test")
    for most in (0, 1):
        expected = [
            example
            for first, end in zip(split.group_indices[:-1], split.group_indices[1:], strict=True)
            for puzzle in range(first, min(end, first + 1 + most))
            for example in range(split.puzzle_indices[puzzle], split.puzzle_indices[puzzle + 1])
        ]
        assert split.evaluation_examples(most).tolist() == expected


def test_broken_datasets_are_refused(tmp_path):
    folder = write_dataset(tmp_path / "toy")
    with pytest.raises(UsageError, match="not a multiple of the 3 processes"):
        next(evaluation_batches(Split(folder, "test"), 8, 0, 3))
    inputs = np.load(folder / "train/all__inputs.npy")
    np.save(folder / "train/all__inputs.npy", inputs[:-1])
    with pytest.raises(InvariantBroken, match="do not belong together"):
        Split(folder, "train")
    (folder / "train/all__inputs.npy").write_bytes((folder / "train/all__labels.npy").read_bytes()[:-5])
    with pytest.raises(InvariantBroken, match="not a complete array"):
        Split(folder, "train")
    (folder / "train/all__inputs.npy").unlink()
    with pytest.raises(MissingPrerequisite, match=r"all__inputs\.npy"):
        Split(folder, "train")


# --- what can go wrong -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lm", "q", "message"),
    [(math.nan, 0.0, "step 7: the loss is not finite"), (1.0, math.inf, "not finite"), (10.0, 0.1, "diverges")],
)
def test_a_loss_that_cannot_learn_stops_the_run(lm, q, message):
    with pytest.raises(ReproError, match=message) as caught:
        check_loss({"train/lm_loss": lm, "train/q_halt_loss": q}, 7, 12)
    assert "lr" in caught.value.hint
    check_loss({"train/lm_loss": 2.5, "train/q_halt_loss": 0.7}, 7, 12)


def test_failures_of_the_machine_say_where_and_what_is_legitimate():
    with pytest.raises(CommandFailed, match="step 3: out of memory") as caught, explained("step 3"):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB\nmore")
    assert "gradient_accumulation" in caught.value.hint and "not faithful" in caught.value.hint
    with pytest.raises(CommandFailed, match="step 4: another process is lost") as caught, explained("step 4"):
        raise RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")
    assert "resume=True" in caught.value.hint
    failing = pytest.raises(CommandFailed, match=r"the state of step 5: .*No space left on device")
    with failing as caught, explained("the state of step 5"), Path("/dev/full").open("wb") as full:
        torch.save({"weights": torch.ones(1000)}, full)
    assert "resume=True" in caught.value.hint
    with pytest.raises(RuntimeError, match="a mistake of ours"), explained("step 5"):
        raise RuntimeError("a mistake of ours")


@pytest.mark.parametrize(
    ("omp", "processes", "asked", "expected"),
    [(None, 1, None, 6), (None, 2, None, 3), ("1", 2, None, 3), ("1", 1, None, 1), ("4", 2, None, 4), ("1", 2, 5, 5)],
)
def test_threads(monkeypatch, omp, processes, asked, expected):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(6)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if omp:
        monkeypatch.setenv("OMP_NUM_THREADS", omp)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    assert threads_per_process(asked) == expected


def test_threads_of_a_system_without_affinity(monkeypatch):
    monkeypatch.delattr("os.sched_getaffinity")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 10)
    assert threads_per_process(None) == 10


def test_the_world_of_one_needs_no_process_group():
    assert ALONE.gather(torch.ones(2)).tolist() == [1, 1] and ALONE.collect(3) == [3] and ALONE.agree(4) == 4
