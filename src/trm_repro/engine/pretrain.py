"""Training from the command line, with upstream's own arguments.

torchrun --nproc-per-node N … -m trm_repro.engine.pretrain arch=trm data_paths="[DIR]" … +run_name=NAME ema=True
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from trm_repro import progress
from trm_repro.digests import digest_file
from trm_repro.engine import checkpoint, lora, loss
from trm_repro.engine import model as model_source
from trm_repro.engine.checkpoint import TrainingStates
from trm_repro.engine.cluster import check_alike, check_shared
from trm_repro.engine.config import PretrainConfig, parse
from trm_repro.engine.data import Sampler, Split, evaluation_batches
from trm_repro.engine.evaluate import ArcEvaluator, evaluate, read_predictions, save_predictions
from trm_repro.engine.log import MetricsLog, wandb_run
from trm_repro.engine.model import TRM
from trm_repro.engine.train import Training
from trm_repro.engine.watch import check_loss, explained
from trm_repro.engine.world import World, join
from trm_repro.errors import InvariantBroken, ReproError, UsageError
from trm_repro.files import write_text


class Run:
    """A training run on one process: what it reads, what it trains, where it writes.

    Args:
        config: the configuration.
        world: this process among the others.
    """

    def __init__(self, config: PretrainConfig, world: World) -> None:
        self.config, self.world = config, world
        torch.manual_seed(config.seed)
        self.data = Split(Path(config.data_paths[0]), "train")
        self.test: Split | None = None
        if config.evaluate:
            self.test = Split(Path((config.data_paths_test or config.data_paths)[0]), "test")
            if self.test.metadata.num_puzzle_identifiers != self.data.metadata.num_puzzle_identifiers:
                raise InvariantBroken("the training and the test data do not have the same puzzle identifiers")
        check_alike(world, config.model_dump(), [self.data, *([self.test] if self.test else [])])
        self.evaluator: ArcEvaluator | None = None
        if self.test and config.evaluators and world.leads:
            self.evaluator = ArcEvaluator(self.test, config.evaluators[0])

        facts = self.data.metadata
        self.model = config.arch.build(facts.vocab_size, facts.seq_len, facts.num_puzzle_identifiers).to(world.device)
        config.arch.adapt(self.model)
        self._warm_start()
        for tensor in self.model.state_dict().values():
            world.broadcast(tensor)
        torch.manual_seed(config.seed + world.rank)  # from here on for the adapters' dropout only
        self.compiled = compiles(config, world)
        self.training = Training(config, self.model, self.data.metadata, world, compiled=self.compiled)
        self.think = torch.compile(TRM.think, dynamic=False) if self.compiled else TRM.think
        self.sampler = Sampler(
            self.data,
            seed=config.seed,
            global_batch_size=config.global_batch_size,
            epochs=config.interval,
            rank=world.rank,
            world_size=world.size,
        )
        self.states = TrainingStates(config.folder, keep=config.keep_checkpoints, rank=world.rank)
        self.iterations_done = 0
        self.log: MetricsLog | None = None

    def _warm_start(self) -> None:
        """Loads the weights to start from, if any."""
        config = self.config
        if config.load_checkpoint:
            source = Path(config.load_checkpoint)
            self._say(f"loading {source}")
            weights = checkpoint.read_weights(source)
            policy = config.puzzle_emb_reinit_strategy
            for sentence in checkpoint.load_weights(self.model, weights, source=str(source), table_policy=policy):
                self._say(sentence)
        if config.load_adapters:
            self._say(f"loading the adapters {config.load_adapters}")
            adapters = checkpoint.read_weights(Path(config.load_adapters))
            lora.load_adapters(self.model, adapters, source=config.load_adapters)

    def train(self) -> None:
        """Trains from the start, or from the newest training state, to the end."""
        config, training = self.config, self.training
        with explained("the start"):
            resumed = self._prepare_folder()
        if self.log and not resumed:
            self.log.write(0, {"num_params": sum(p.numel() for p in self.model.parameters())})
        title = f"training {config.run_name}"
        iterations = config.epochs // config.interval
        total = self.sampler.count(iterations) or training.total_steps  # upstream's estimate, within a percent
        with progress.track(title, total=total, quiet=not self.world.leads) as bar:
            bar.advance(training.step)
            for iteration in range(self.iterations_done + 1, iterations + 1):
                if self.sampler.iteration != iteration:
                    self.sampler.begin(iteration)
                while (batch := self.sampler.next()) is not None:
                    with explained(f"step {training.step + 1}"):
                        metrics = training.train_step(batch.to(self.world.device))
                    if metrics:
                        check_loss(metrics, training.step, self.data.metadata.vocab_size)
                        if self.log:
                            self.log.write(training.step, metrics)
                        bar.note(f"loss {metrics['train/lm_loss']:.4f}, exact {metrics['train/exact_accuracy']:.3f}")
                    bar.advance()
                    every = config.checkpoint_every_n_steps
                    if every and training.step % every == 0:
                        self.save_state()
                if iteration > config.min_eval_interval:
                    self._finish_iteration(iteration, bar)
        if self.log:
            self.log.close()

    def _finish_iteration(self, iteration: int, bar: progress.Tracker) -> None:
        """Evaluates with the averaged weights and saves them; then saves the training state."""
        config, average = self.config, self.training.average
        with average.applied() if average else contextlib.nullcontext():
            with explained(f"the evaluation at step {self.training.step}"):
                if self.test:
                    self._evaluate(self.test, bar)
            if self.world.leads and (config.checkpoint_every_eval or iteration == config.epochs // config.interval):
                self._save_weights(config.folder / f"step_{self.training.step}")
        self.iterations_done = iteration
        self.save_state()

    def _save_weights(self, path: Path) -> None:
        checkpoint.save_weights(path, self.model.state_dict(), compiled=self.compiled)
        if export := self.config.lora_export:
            state = lora.adapter_state(self.model) if export == "adapters" else lora.merged_state(self.model)
            checkpoint.save_weights(path.with_name(f"{path.name}_{export}"), state, compiled=self.compiled)

    def _evaluate(self, test: Split, bar: progress.Tracker) -> None:
        config, world, step = self.config, self.world, self.training.step
        batches = evaluation_batches(
            test, config.global_batch_size, world.rank, world.size, config.eval_max_augmentations
        )
        done = 0

        def after_batch() -> None:
            nonlocal done
            done += 1
            bar.note(f"evaluating, {done * config.global_batch_size} examples done")
            bar.advance(0)

        metrics, predictions = evaluate(
            self.model,
            batches,
            world,
            loss_type=config.arch.loss.loss_type,
            after_batch=after_batch,
            think=self.think,
        )
        parts = world.collect(predictions)
        if self.evaluator:
            self.evaluator.begin()
            for part in parts:
                self.evaluator.add(part)
            metrics |= self.evaluator.result(config.folder / f"evaluator_ARC_step_{step}")
            if config.keep_checkpoints and self.evaluator.config.aggregated_voting:
                save_predictions(self._votes_folder / f"step_{step}", parts)
        if self.log:
            self.log.write(step, metrics)
        if config.eval_save_outputs:
            self._save_outputs(test, predictions)

    def _save_outputs(self, test: Split, predictions: Any) -> None:
        """Upstream's ``step_N_all_preds.<rank>``: the asked arrays of this rank, by name."""
        batch = test.batch(predictions.examples, len(predictions.examples))
        arrays = {
            "inputs": batch.inputs,
            "labels": batch.labels,
            "puzzle_identifiers": batch.puzzle_identifiers,
            "preds": torch.from_numpy(predictions.preds.astype("int32")),
            "q_halt_logits": torch.from_numpy(predictions.q_halt_logits),
        }
        path = self.config.folder / f"step_{self.training.step}_all_preds.{self.world.rank}"
        path.parent.mkdir(parents=True, exist_ok=True)  # of a node that does not share rank 0's
        torch.save({name: arrays[name] for name in self.config.eval_save_outputs}, path)

    # --- files -------------------------------------------------------------------------------------------------------

    @property
    def _votes_folder(self) -> Path:
        return self.states.folder / "votes"

    def _say(self, text: str) -> None:
        if self.world.leads:
            print(f"==> {text}", file=sys.stderr, flush=True)

    def _prepare_folder(self) -> bool:
        """Resumes if asked to and possible; else starts a folder that holds no other run. Returns whether it resumed."""
        config, world = self.config, self.world
        folder = config.folder
        found = self.states.newest() if world.leads else None
        newest = world.agree(found and found.name)
        if not config.resume and world.agree(bool(newest or (world.leads and checkpoint.steps_in(folder)))):
            raise InvariantBroken(
                f"{folder} holds the checkpoints of a run already",
                hint="resume=True goes on with it; else choose another +run_name, or move the folder away",
            )
        if world.leads:
            self._start_log()
            if not newest:
                self._describe_run()
        if config.keep_checkpoints:
            check_shared(world, self.states.folder)
        if newest:
            self._resume(self.states.folder / newest)
        else:
            self._say(f"training from the start in {folder}")
        return bool(newest)

    def _start_log(self) -> None:
        config = self.config
        path = Path(os.environ.get("TRM_REPRO_METRICS") or config.folder / "metrics.jsonl")
        self.log = MetricsLog(
            path,
            wandb_run(
                config.wandb,
                project=str(config.project_name),
                name=str(config.run_name),
                entity=config.entity,
                config=config.model_dump(),
            ),
        )

    def _describe_run(self) -> None:
        """all_config.yaml, the sources of model and loss, and the digest of the identifiers the puzzle table belongs to."""
        folder = self.config.folder
        shutil.rmtree(self.states.folder, ignore_errors=True)  # of a run killed before its first training state
        assert self.log is not None
        self.log.rewind(0)
        write_text(folder / "all_config.yaml", yaml.safe_dump(self.config.model_dump(mode="json")))
        for module, name in ((model_source, "trm.py"), (loss, "losses.py")):
            shutil.copyfile(str(module.__file__), folder / name)
        identifiers = self.data.folder / "identifiers.json"
        if identifiers.exists():
            write_text(folder / "identifiers.sha256", f"{digest_file(identifiers).sha256}  identifiers.json\n")

    def save_state(self) -> None:
        """Writes what goes on from here, on all processes."""
        if not self.config.keep_checkpoints:
            return
        step, world = self.training.step, self.world
        state = self.training.state_dict() | {"torch_generator": torch.get_rng_state()}
        if world.device.type == "cuda":
            state["cuda_generator"] = torch.cuda.get_rng_state()
        if "shared" in state:
            assert self.log is not None
            state["shared"] |= {
                "config": self.config.model_dump(mode="json"),
                "world_size": world.size,
                "iterations_done": self.iterations_done,
                "sampler": self.sampler.state_dict(),
                "metrics_position": self.log.position(),
            }
        with explained(f"the training state of step {step}"):
            if world.leads:
                self.states.begin(step)
            world.wait()
            self.states.write(step, state)
            world.wait()
            if world.leads:
                self.states.commit(step)

    def _resume(self, folder: Path) -> None:
        own = checkpoint.load(folder / f"rank_{self.world.rank}.pt")
        shared = checkpoint.load(folder / "rank_0.pt")["shared"]
        same_run(shared["config"], self.config.model_dump(mode="json"))
        if shared["world_size"] != self.world.size:
            raise UsageError(
                f"{folder} was written by {shared['world_size']} processes, this run has {self.world.size}",
                hint="resume with the same number of processes",
            )
        self.training.load_state_dict(own, shared)
        self.sampler.load_state_dict(shared["sampler"])
        self.iterations_done = shared["iterations_done"]
        torch.set_rng_state(own["torch_generator"])
        if "cuda_generator" in own:
            torch.cuda.set_rng_state(own["cuda_generator"])
        if self.log:
            self.log.rewind(shared["metrics_position"])
        if self.evaluator and self.evaluator.config.aggregated_voting:
            for step, path in checkpoint.steps_in(self._votes_folder).items():
                if step <= self.training.step:
                    self.evaluator.add(read_predictions(path))
        self._say(f"resuming after step {self.training.step} from {folder}")


MAY_CHANGE = {"resume", "checkpoint_every_n_steps", "keep_checkpoints", "device", "threads", "wandb", "entity"}


def same_run(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Checks that a run is resumed with the configuration it was started with.

    Raises:
        UsageError: keys other than those of :data:`MAY_CHANGE` differ.
    """
    changed = [
        f"{key}: was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if key not in MAY_CHANGE and before.get(key) != now.get(key)
    ]
    if changed:
        raise UsageError(
            "this is not the run that the training state belongs to:\n  " + "\n  ".join(changed),
            hint="resume with the same configuration, or start another run under another +run_name",
        )


def compiles(config: PretrainConfig, world: World) -> bool:
    """Whether the step is compiled: as configured, else on CUDA unless DISABLE_COMPILE is set (to anything)."""
    if config.compile is not None:
        return config.compile
    return world.device.type == "cuda" and "DISABLE_COMPILE" not in os.environ


def run(values: Mapping[str, Any]) -> None:
    """Trains as the composed configuration says."""
    config = parse(values)
    with join(config.device, config.threads) as world:
        with explained("the start"):
            training_run = Run(config, world)
        training_run.train()


@hydra.main(config_path=str(Path(__file__).with_name("config")), config_name="cfg_pretrain", version_base="1.3")  # type: ignore[untyped-decorator]
def main(composed: DictConfig) -> None:
    """The command line; a failure names itself and what to do, and exits with its code."""
    values = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(values, dict)
    try:
        run({str(key): value for key, value in values.items()})
    except ReproError as error:
        print(f"error: {error}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
