"""Puzzle datasets from CSV files: Sudoku-Extreme and Maze-Hard.

``train.csv`` and ``test.csv`` are UTF-8, with or without a byte order mark, and have one line of titles and four columns:
source, question, answer and rating, whatever the titles call them. A question and its answer are strings of one character a
cell; the rating is looked at only where boards are left out by it, and must be a whole number then. Line ends and quotes are
as CSV has them; blank lines are refused. An answer must solve its question.

A dataset has one group a board, one puzzle with one example a variant of it, and one identifier, ``<blank>``, for all. Variants
are made of training boards only, and only there boards are drawn.

Upstream never seeds its generator, so no two of its builds with drawn boards or shuffled variants agree. Here a seed
fixes them, and ``build.json`` in the dataset's folder says with which seed, options and sources it was made.
"""

from __future__ import annotations

import csv
import json
import math
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
_CHUNK = 1 << 16  # boards whose answers are checked at a time


COLUMNS = ("source", "question", "answer", "rating")


@dataclass(frozen=True)
class Kind:
    """A kind of puzzle.

    Attributes:
        name: what it is called.
        cells: how many a board has; None for squares of any one size.
        tokens: the token of each character; token 0 is padding.
        wrong: given the (n, cells) questions and answers, which answer is the first that is none, and why.
    """

    name: str
    cells: int | None
    tokens: Mapping[str, int]
    wrong: Callable[[Tokens, Tokens], tuple[int, str] | None]

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
        cells = questions.shape[1]
        if boards["test"][0].shape[1] != cells:
            found = boards["test"][0].shape[1]
            raise InvariantBroken(f"{files['test']}: boards of {found} cells, where {files['train'].name} has {cells}")
        if options.subsample_size is not None and options.subsample_size < len(questions):
            drawn = generator.choice(len(questions), options.subsample_size, replace=False)
            boards["train"] = questions[drawn], answers[drawn]
        require_space(folder, 2 * cells * (variants * len(boards["train"][0]) + len(boards["test"][0])))
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
        InvariantBroken: it has other columns, or a board that is not one or is not solved; the message names the line.
    """
    questions: list[str] = []
    answers: list[str] = []
    lines: list[int] = []
    cells = kind.cells
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.reader(file)
            titles = next(reader, None)
            if not titles:
                raise InvariantBroken(f"{path}: line 1: no titles", hint=f"they are {', '.join(COLUMNS)}")
            if len(titles) > 2 and cells_of(titles[1], kind) and cells_of(titles[2], kind):
                raise InvariantBroken(
                    f"{path}: line 1: a board where titles must be; it would be left out",
                    hint=f"put {','.join(COLUMNS)} before it",
                )
            for row in reader:
                here = f"{path}: line {reader.line_num}"
                if len(row) != len(COLUMNS):
                    what = f"{len(row)} columns" if row else "a blank line"
                    raise InvariantBroken(f"{here}: {what}, expected {', '.join(COLUMNS)}", hint=_columns_hint(titles))
                if min_difficulty is not None and _whole(row[3], here) < min_difficulty:
                    continue
                for board in row[1:3]:
                    found = cells_of(board, kind)
                    if not found or found != (cells or found):
                        size = f"{cells} cells" if cells else "a square of cells"
                        raise InvariantBroken(f"{here}: not {size} out of {''.join(kind.tokens)!r}")
                    cells = found
                questions.append(row[1])
                answers.append(row[2])
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InvariantBroken(f"{path}: line {reader.line_num}: {error}") from None
    except UnicodeDecodeError as error:
        raise InvariantBroken(f"{path}: not UTF-8 text: {error}") from None
    if not questions:
        raise InvariantBroken(f"{path}: no boards", hint="is --min-difficulty too high?" if min_difficulty else None)
    boards = _tokens(questions, kind), _tokens(answers, kind)
    for start in range(0, len(lines), _CHUNK):
        if wrong := kind.wrong(*(part[start : start + _CHUNK] for part in boards)):
            raise InvariantBroken(f"{path}: line {lines[start + wrong[0]]}: {wrong[1]}")
    return boards


def cells_of(board: str, kind: Kind) -> int:
    """How many cells a string has, if it is a board of this kind; else 0."""
    fits = kind.tokens.keys() >= set(board) and len(board) == (kind.cells or math.isqrt(len(board)) ** 2)
    return len(board) if fits else 0


def _whole(rating: str, where: str) -> int:
    try:
        return int(rating)
    except ValueError:
        raise InvariantBroken(
            f"{where}: rating {rating!r} is not a whole number", hint="without --min-difficulty it is not looked at"
        ) from None


def _columns_hint(titles: list[str]) -> str | None:
    return "pandas wrote an index: to_csv(…, index=False)" if titles[0] in ("", "Unnamed: 0") else None


def _tokens(boards: list[str], kind: Kind) -> Tokens:
    table = np.zeros(128, np.uint8)
    for character, token in kind.tokens.items():
        table[ord(character)] = token
    return table[np.frombuffer("".join(boards).encode(), np.uint8)].reshape(len(boards), -1)


def _write_split(folder: Path, kind: Kind, questions: Tokens, answers: Tokens, variants: int, expand: Expand) -> None:
    """Writes one split: ``variants`` puzzles with one example each for every board."""
    folder.mkdir()
    puzzles = len(questions) * variants
    cells = questions.shape[1]
    shape = (puzzles, cells)
    inputs = np.lib.format.open_memmap(folder / "all__inputs.npy", "w+", np.uint8, shape, version=(1, 0))
    labels = np.lib.format.open_memmap(folder / "all__labels.npy", "w+", np.uint8, shape, version=(1, 0))
    with progress.track(f"writing {folder.name}", total=len(questions), unit="boards") as bar:
        for board in range(len(questions)):
            rows = slice(board * variants, (board + 1) * variants)
            inputs[rows], labels[rows] = expand(questions[board], answers[board])
            bar.advance()
    inputs.flush()
    labels.flush()
    facts = {"vocab_size": kind.vocabulary, "seq_len": cells, "num_puzzle_identifiers": 1}
    sizes = np.ones(puzzles, np.int32)
    groups = np.full(len(questions), variants, np.int32)
    # upstream counts boards as puzzles here, not variants
    write_indices(folder, 0 * sizes, sizes, groups, total_puzzles=len(questions), **facts)
