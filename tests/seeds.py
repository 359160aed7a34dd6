"""Holds tests/fixtures/seed-commands.yaml against the seed documents: `make test-seeds SEEDS=folder`.

Every text that is transcribed stands in its document word for word, and every command of the documents' bash blocks is
transcribed. The documents are not part of this repository: some of them have no license. Exit: 0 so it is, 1 otherwise.
"""

import re
import sys
from pathlib import Path

import yaml

TRANSCRIPTS = Path(__file__).parent / "fixtures" / "seed-commands.yaml"
# The blocks of seed 000 are a program; tests/bats/seed.bats runs it. Of the others, comments and variables are no commands.
PROGRAM = "000"
NO_COMMAND = re.compile(r"#|export |\w+=\S+$|\w+=\"[^\"]*\"$|\{'all'")


def flat(text: str) -> str:
    """A text with its continued lines joined, and every blank a single one."""
    return " ".join(text.replace("\\\n", " ").split())


def commands(document: str) -> list[str]:
    """The commands of a document's bash blocks, a line each."""
    blocks = re.findall(r"```bash\n(.*?)```", document, re.DOTALL)
    lines = [flat(line) for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line for line in lines if line and not NO_COMMAND.match(line)]


def main(folder: Path) -> int:
    entries = [entry for entry in yaml.safe_load(TRANSCRIPTS.read_text()) if entry["text"]]
    problems, compared = [], 0
    for number in ("000", "001", "002", "003", "004"):
        (path,) = folder.glob(f"{number}*")
        document, texts = path.read_text(), [flat(e["text"]) for e in entries if e["document"] == number]
        problems += [f"{path.name} does not have: {text}" for text in texts if text not in flat(document)]
        found = [] if number == PROGRAM else commands(document)
        problems += [
            f"{path.name}: not transcribed: {line}" for line in found if not any(line in text for text in texts)
        ]
        compared += len(found)
        print(f"{path.name}: {len(texts)} transcripts, {len(found)} commands")
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems) or not compared)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
