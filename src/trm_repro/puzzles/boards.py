"""Puzzle datasets from CSV files: Sudoku-Extreme and Maze-Hard.

``train.csv`` and ``test.csv`` have the columns source, question, answer and rating; a question and its answer are
strings of one character a cell. A dataset has one group a board, one puzzle with one example a variant of it, and one
identifier, ``<blank>``, for all. Variants are made of training boards only, and only there boards are drawn.

Upstream never seeds its generator, so no two of its builds with drawn boards or shuffled variants agree. Here a seed
fixes them, and ``build.json`` in the dataset's folder says with which seed, options and sources it was made.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from trm_repro import progress
from trm_repro.arc.layout import BLANK, write_indices
from trm_repro.arc.staging import require_space, staged_folder
from trm_repro.digests import digest_file
from trm_repro.errors import CommandFailed, InvariantBroken, MissingPrerequisite, UsageError

Tokens = npt.NDArray[np.uint8]
Expand = Callable[[Tokens, Tokens], tuple[Tokens, Tokens]]


@dataclass(frozen=True)
class Kind:
    """A kind of puzzle: how many cells, and the token of each character; token 0 is padding."""

    name: str
    cells: int
    tokens: Mapping[str, int]

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return max(self.tokens.values()) + 1


@dataclass(frozen=True)
class Source:
    """Where the CSV files are: a folder, or a commit of a dataset repository on the Hugging Face hub."""

    folder: Path | None = None
    repo: str = ""
    revision: str = ""

    def file(self, split: str) -> Path:
        """The CSV file of a split, downloaded if need be.

        Raises:
            UsageError: the revision is not a commit.
            MissingPrerequisite: there is no such file.
            CommandFailed: the download failed.
        """
        if self.folder:
            path = self.folder / f"{split}.csv"
            if not path.is_file():
                raise MissingPrerequisite(f"{path}: no such file")
            return path
        if not re.fullmatch("[0-9a-f]{40}", self.revision):
            raise UsageError(
                f"{self.repo}: the revision must be a full commit, not {self.revision!r}",
                hint="name the commit with --revision, or local files with --source",
            )
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            return Path(hf_hub_download(self.repo, f"{split}.csv", repo_type="dataset", revision=self.revision))
        except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
            raise CommandFailed(
                f"{self.repo}: {split}.csv could not be downloaded: {error}", hint="name local files with --source"
            ) from None


@dataclass(frozen=True)
class Options:
    """What a dataset is made of.

    Attributes:
        source: of the boards.
        subsample_size: how many training boards to draw, without replacement; None for all.
        min_difficulty: boards with a lower rating are left out; None for none.
        seed: of the generator that draws and shuffles.
    """

    source: Source
    subsample_size: int | None = None
    min_difficulty: int | None = None
    seed: int = 0


def build(
    kind: Kind, options: Options, output: Path, *, variants: int, expand: Callable[[np.random.Generator], Expand]
) -> dict[str, int]:
    """Builds the dataset ``output``.

    Args:
        kind: of puzzle.
        options: what to build.
        output: the folder to make; it must not exist.
        variants: of each training board, itself included.
        expand: given the generator, makes a board's (variants, cells) questions and answers of its (cells,) ones.

    Returns:
        The number of examples by split.

    Raises:
        UsageError: ``output`` exists, or the options make no sense.
        MissingPrerequisite: a file is missing, or the disk is too small or fills up.
        InvariantBroken: a CSV file is not what it should be.
    """
    generator = np.random.default_rng(options.seed)
    with staged_folder(output) as folder:
        files = {split: options.source.file(split) for split in ("train", "test")}
        boards = {split: read_boards(path, kind, options.min_difficulty) for split, path in files.items()}
        questions, answers = boards["train"]
        if options.subsample_size is not None and options.subsample_size < len(questions):
            drawn = generator.choice(len(questions), options.subsample_size, replace=False)
            boards["train"] = questions[drawn], answers[drawn]
        require_space(folder, 2 * kind.cells * (variants * len(boards["train"][0]) + len(boards["test"][0])))
        _write_split(folder / "train", kind, *boards["train"], variants, expand(generator))
        _write_split(folder / "test", kind, *boards["test"], 1, lambda question, answer: (question[None], answer[None]))
        (folder / "identifiers.json").write_text(json.dumps([BLANK]))
        sources = {path.name: digest_file(path).sha256 for path in files.values()}
        record = {"kind": kind.name, **asdict(options), "variants": variants, "sha256": sources}
        del record["source"]
        record["repo"], record["revision"] = options.source.repo or None, options.source.revision or None
        (folder / "build.json").write_text(json.dumps(record, indent=2) + "\n")
    return {"train": variants * len(boards["train"][0]), "test": len(boards["test"][0])}


def read_boards(path: Path, kind: Kind, min_difficulty: int | None = None) -> tuple[Tokens, Tokens]:
    """The (n, cells) questions and answers of a CSV file.

    Raises:
        InvariantBroken: it has other columns, or a board that is not one; the message names the line.
    """
    questions: list[str] = []
    answers: list[str] = []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            columns = next(reader, [])
            if columns != ["source", "question", "answer", "rating"]:
                raise InvariantBroken(f"{path}: columns {columns}, expected source, question, answer, rating")
            for row in reader:
                if len(row) != 4 or not row[3].isdecimal():
                    raise InvariantBroken(f"{path}: line {reader.line_num}: not four columns with a whole rating")
                if min_difficulty is None or int(row[3]) >= min_difficulty:
                    for board in row[1:3]:
                        if len(board) != kind.cells or not kind.tokens.keys() >= set(board):
                            raise InvariantBroken(
                                f"{path}: line {reader.line_num}: not {kind.cells} cells out of "
                                f"{''.join(kind.tokens)!r}"
                            )
                    questions.append(row[1])
                    answers.append(row[2])
    except UnicodeDecodeError as error:
        raise InvariantBroken(f"{path}: not UTF-8 text: {error}") from None
    if not questions:
        raise InvariantBroken(f"{path}: no boards", hint="is --min-difficulty too high?" if min_difficulty else None)
    return _tokens(questions, kind), _tokens(answers, kind)


def _tokens(boards: list[str], kind: Kind) -> Tokens:
    table = np.zeros(128, np.uint8)
    for character, token in kind.tokens.items():
        table[ord(character)] = token
    return table[np.frombuffer("".join(boards).encode(), np.uint8)].reshape(len(boards), kind.cells)


def _write_split(folder: Path, kind: Kind, questions: Tokens, answers: Tokens, variants: int, expand: Expand) -> None:
    """Writes one split: ``variants`` puzzles with one example each for every board."""
    folder.mkdir()
    puzzles = len(questions) * variants
    shape = (puzzles, kind.cells)
    inputs = np.lib.format.open_memmap(folder / "all__inputs.npy", "w+", np.uint8, shape, version=(1, 0))
    labels = np.lib.format.open_memmap(folder / "all__labels.npy", "w+", np.uint8, shape, version=(1, 0))
    with progress.track(f"writing {folder.name}", total=len(questions), unit="boards") as bar:
        for board in range(len(questions)):
            rows = slice(board * variants, (board + 1) * variants)
            inputs[rows], labels[rows] = expand(questions[board], answers[board])
            bar.advance()
    inputs.flush()
    labels.flush()
    facts = {"vocab_size": kind.vocabulary, "seq_len": kind.cells, "num_puzzle_identifiers": 1}
    sizes = np.ones(puzzles, np.int32)
    groups = np.full(len(questions), variants, np.int32)
    # upstream counts boards as puzzles here, not variants
    write_indices(folder, 0 * sizes, sizes, groups, total_puzzles=len(questions), **facts)
