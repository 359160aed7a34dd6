"""Training from the command line, with upstream's own arguments.

torchrun --nproc-per-node N … -m trm_repro.engine.pretrain arch=trm data_paths="[DIR]" … +run_name=NAME ema=True
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
import torch
import yaml
from omegaconf import DictConfig, OmegaConf

from trm_repro import interrupt, progress
from trm_repro.digests import digest_file
from trm_repro.engine import checkpoint, lora, loss, resume
from trm_repro.engine import model as model_source
from trm_repro.engine.act import Batch
from trm_repro.engine.cluster import check_alike, check_shared
from trm_repro.engine.config import PretrainConfig, parse
from trm_repro.engine.data import Sampler, Split, evaluation_batches
from trm_repro.engine.device import check_dtype
from trm_repro.engine.evaluate import ArcEvaluator, Predictions, evaluate, read_predictions, save_predictions, watched
from trm_repro.engine.failures import check_loss, explained
from trm_repro.engine.log import MetricsLog, wandb_run
from trm_repro.engine.model import TRM
from trm_repro.engine.resume import TrainingStates
from trm_repro.engine.train import Training
from trm_repro.engine.world import World, join
from trm_repro.errors import Interrupted, InvariantBroken, ReproError, UsageError
from trm_repro.files import remove_staged, staged, write_text
from trm_repro.runs.checkpoints import CONFIG, checkpoint_name, checkpoints, evaluation_name
from trm_repro.runs.metrics import FILE as METRICS
from trm_repro.tap.sitecustomize import Witness


class Pretraining:
    """A run of this command on one process: what it reads, what it trains, where it writes.

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
            as_loader=config.draw_as_loader,
        )
        self.states = TrainingStates(config.folder, keep=config.keep_checkpoints)
        self.iterations_done = 0
        self.log: MetricsLog | None = None

    def _warm_start(self) -> None:
        """Loads the weights to start from, if any."""
        config = self.config
        if config.load_checkpoint:
            source = Path(config.load_checkpoint)
            self._say(f"loading {source}")
            weights = checkpoint.read_weights(config.load_checkpoint)
            for sentence in checkpoint.load_weights(
                self.model,
                weights,
                source=str(source),
                table_policy=config.puzzle_emb_reinit_strategy,
                same_puzzles=checkpoint.know_same_puzzles(source.parent, self.data.folder) is not False,
            ):
                self._say(sentence)
        if config.load_adapters:
            self._say(f"loading the adapters {config.load_adapters}")
            adapters = checkpoint.read_adapters(config.load_adapters)
            lora.load_adapters(self.model, adapters, source=config.load_adapters)

    def train(self) -> None:
        """Trains from the start, or from the newest training state, to the end."""
        config, training = self.config, self.training
        with explained("the start"):
            resumed = self._prepare_folder()
        if self.log and not resumed:
            self.log.write(0, {"num_params": sum(p.numel() for p in self.model.parameters())})
        title = f"training {config.run_name}"
        batches = self.sampler.count(config.iterations)
        if batches == 0:
            raise UsageError(
                f"nothing to train: {config.interval} epochs of {self.data.folder} fill no batch of {config.global_batch_size}",
                hint="a smaller global_batch_size, or a larger eval_interval: what does not fill a batch is dropped",
            )
        total = batches or training.total_steps  # upstream's estimate, within a percent
        with progress.track(title, total=total, done=training.step, quiet=not self.world.leads) as bar:
            for iteration in range(self.iterations_done + 1, config.iterations + 1):
                if self.sampler.iteration != iteration:
                    self.sampler.begin(iteration)
                while (batch := self.sampler.next()) is not None:
                    with explained(f"step {training.step + 1}"):
                        self._step(batch, bar)
                    every = config.checkpoint_every_n_steps
                    if every and training.step % every == 0:
                        self.save_state()
                if iteration > config.min_eval_interval:
                    with explained(f"the evaluation at step {training.step}"):
                        self._evaluate_and_save(iteration, bar)
                self.iterations_done = iteration
                self.save_state()
        if self.log:
            self.log.close()

    def _step(self, batch: Batch, bar: progress.Tracker) -> None:
        metrics, step = self.training.train_step(batch.to(self.world.device)), self.training.step
        if metrics:
            check_loss(metrics, step, self.data.metadata.vocab_size)
            if self.log:
                self.log.write(step, metrics)
            bar.note(f"loss {metrics['train/lm_loss']:.4f}, exact {metrics['train/exact_accuracy']:.3f}")
        bar.advance()

    def _evaluate_and_save(self, iteration: int, bar: progress.Tracker) -> None:
        """Evaluates with the averaged weights, and writes them."""
        config, average = self.config, self.training.average
        with average.applied() if average else contextlib.nullcontext():
            if self.test:
                self._evaluate(self.test, iteration, bar)
            if self.world.leads and (config.checkpoint_every_eval or iteration == config.iterations):
                self._save_weights(config.folder / checkpoint_name(self.training.step))

    def _save_weights(self, path: Path) -> None:
        checkpoint.save_weights(path, self.model.state_dict(), compiled=self.compiled)
        if export := self.config.lora_export:
            state = lora.adapter_state(self.model) if export == "adapters" else lora.merged_state(self.model)
            checkpoint.save_weights(path.with_name(f"{path.name}_{export}"), state, compiled=self.compiled)

    def _evaluate(self, test: Split, iteration: int, bar: progress.Tracker) -> None:
        config, world, step = self.config, self.world, self.training.step
        batches = evaluation_batches(
            test, config.global_batch_size, world.rank, world.size, config.eval_max_augmentations
        )
        examples = len(test.evaluation_examples(config.eval_max_augmentations))
        steps = -(-examples // config.global_batch_size) * config.arch.halt_max_steps
        done, began = 0, time.monotonic()

        def after_step() -> None:
            nonlocal done
            done += 1
            left = (time.monotonic() - began) * (steps - done) / done
            bar.note(f"evaluating {examples} examples, {done / steps:.0%}, {progress.clock(left)} left")
            bar.advance(0)

        metrics, (predictions,) = evaluate(
            self.model,
            batches,
            world,
            loss_type=config.arch.loss.loss_type,
            think=watched(after_step, self.think),
        )
        parts = world.collect(predictions)
        if self.evaluator:
            voting = Predictions.join(parts)
            self.evaluator.begin()
            self.evaluator.add(voting)
            metrics |= self.evaluator.result(config.folder / evaluation_name(step))
            if config.keep_checkpoints and self.evaluator.config.aggregated_voting:
                save_predictions(self.states.votes(iteration), [voting], test)
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
        path = self.config.folder / f"{checkpoint_name(self.training.step)}_all_preds.{self.world.rank}"
        with staged(path) as temporary:
            torch.save({name: arrays[name] for name in self.config.eval_save_outputs}, temporary)

    # --- files -------------------------------------------------------------------------------------------------------

    def _say(self, text: str) -> None:
        if self.world.leads:
            print(f"==> {text}", file=sys.stderr, flush=True)

    def _prepare_folder(self) -> bool:
        """Resumes if asked to and possible; else starts a folder that holds no other run. Returns whether it resumed."""
        config, world = self.config, self.world
        newest = resume.find(self.states, config, world)
        if world.leads:
            remove_staged(config.folder)
            self._start_log()
            if not newest:
                self._describe_run()
        if config.keep_checkpoints:
            check_shared(world, self.states.folder)
        if not newest:
            self._say(f"training from the start in {config.folder}")
            return False
        self.iterations_done = resume.go_on(newest, self.training, self.sampler, self.log)
        if self.evaluator and self.evaluator.config.aggregated_voting:
            for iteration in range(config.min_eval_interval + 1, self.iterations_done + 1):
                self.evaluator.add(read_predictions(self.states.votes(iteration), self.evaluator.split)[-1])
        self._say(f"resuming after step {self.training.step} from {newest}")
        return True

    def _start_log(self) -> None:
        config = self.config
        path = Path(os.environ.get("TRM_REPRO_METRICS") or config.folder / METRICS)
        if os.environ.get("TRM_REPRO_TORCH"):
            Witness(Path(os.environ["TRM_REPRO_TORCH"])).look()
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
        if self.config.keep_checkpoints:
            self.states.folder.mkdir(parents=True)  # a folder without one cannot be resumed, and is never begun again
        write_text(folder / CONFIG, yaml.safe_dump(self.config.model_dump(mode="json")))
        for module, name in ((model_source, "trm.py"), (loss, "losses.py")):
            shutil.copyfile(str(module.__file__), folder / name)
        identifiers = self.data.folder / "identifiers.json"
        if identifiers.exists():
            write_text(folder / "identifiers.sha256", f"{digest_file(identifiers).sha256}  identifiers.json\n")

    def save_state(self) -> None:
        """Writes what goes on from here, on all processes."""
        if self.config.keep_checkpoints:
            with explained(f"the training state of step {self.training.step}"):
                state = resume.state_of(self.training, self.sampler, self.iterations_done, self.log)
                self.states.save(self.world, self.training.step, self.iterations_done, state)


def compiles(config: PretrainConfig, world: World) -> bool:
    """Whether the step is compiled: as configured, else on CUDA unless DISABLE_COMPILE is set (to anything)."""
    if config.compile is not None:
        return config.compile
    return world.device.type == "cuda" and "DISABLE_COMPILE" not in os.environ


def run(values: Mapping[str, Any]) -> None:
    """Trains as the composed configuration says."""
    config = parse(values)
    begun: list[Pretraining] = []
    with interrupt.explained(lambda: going_on(config, begun)), join(config.device, config.threads) as world:
        check_dtype(config.arch.forward_dtype, world.device)
        with explained("before the first step"):
            begun.append(Pretraining(config, world))
        begun[0].train()


def going_on(config: PretrainConfig, begun: Sequence[Pretraining]) -> tuple[str, str]:
    """Where a run was interrupted, and how to go on with it."""
    what = f"interrupted at step {begun[0].training.step}" if begun else "interrupted before the first step"
    newest = TrainingStates(config.folder, keep=config.keep_checkpoints).newest()
    exported = bool(checkpoints(config.folder))
    if newest or (exported and config.keep_checkpoints):
        return what, f"the same command with resume=True goes on from {newest or 'the start'}"
    if exported:
        return what, f"no training state was kept: move {config.folder} away, or choose another +run_name"
    return what, "no training state was written yet: the same command starts again"


@hydra.main(config_path=str(Path(__file__).with_name("config")), config_name="cfg_pretrain", version_base="1.3")  # type: ignore[untyped-decorator]
def main(composed: DictConfig) -> None:
    """The command line; a failure names itself and what to do, and exits with its code."""
    values = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(values, dict)
    try:
        run({str(key): value for key, value in values.items()})
    except ReproError as error:
        if not isinstance(error, Interrupted) or interrupt.leads():
            print(f"error: {error}", file=sys.stderr)
            if error.hint:
                print(f"hint: {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
