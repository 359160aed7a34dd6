"""The floors of the package: a module imports only from floors below its own room's, or from its own room without a circle."""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import trm_repro

ROOT = Path(trm_repro.__file__).parent
# docs/architecture.md, from the ground up. Rooms of one floor do not know each other.
GROUND = ("errors", "files", "digests", "progress", "interrupt", "archives", "extras")  # loose modules, one room
FLOORS = (
    ("ground",),
    ("arc", "recipes", "tap", "support"),
    ("puzzles", "runs"),
    ("weights",),
    ("engine", "machine"),
    ("provenance",),
    ("training", "publish", "report"),
    ("notebook", "demo", "audit"),
    ("cli", "__init__"),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def module(path):
    """A module's name below the package, such as ``arc.grids``; a package's own is the package's."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and parts[1:] else parts)


MODULES = {module(path): path for path in ROOT.rglob("*.py")}


def imports(path):
    """The modules of the package that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "trm_repro":
            inside = node.module.partition(".")[2]
            for alias in node.names:
                name = f"{inside}.{alias.name}".strip(".")
                yield name if name in MODULES else inside or "__init__"
        elif isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] or "__init__" for a in node.names if a.name.startswith("trm_repro"))


IMPORTS = {name: set(imports(path)) for name, path in MODULES.items()}


def room(name):
    return "ground" if name in GROUND else name.partition(".")[0]


def upward(graph):
    """What breaks the rule of the floors, a line each. The package's version is everybody's to know."""
    return [
        f"{name} (floor {FLOOR[room(name)]}) imports {other} (floor {FLOOR[room(other)]})"
        for name, others in sorted(graph.items())
        for other in sorted(others - {"__init__"})
        if room(other) != room(name) and FLOOR[room(other)] >= FLOOR[room(name)]
    ]


def test_every_module_has_a_floor():
    assert {room(name) for name in MODULES} == set(FLOOR)


def test_a_module_imports_only_from_floors_below_its_own():
    assert upward(IMPORTS) == []
    assert len(upward({"arc.grids": {"engine.model"}, "runs.stamps": {"puzzles.maze"}})) == 2


def test_there_is_no_circle():
    tuple(TopologicalSorter({name: others - {name} for name, others in IMPORTS.items()}).static_order())
    with pytest.raises(CycleError):
        TopologicalSorter(IMPORTS | {"errors": {"cli"}}).prepare()


@pytest.mark.parametrize(
    ("rooms", "unknown"),
    [
        (("arc", "puzzles"), ("torch",)),
        (("engine",), ("trm_repro.recipes", "trm_repro.provenance")),
    ],
)
def test_what_a_room_knows_nothing_of(rooms, unknown):
    for name, path in MODULES.items():
        if room(name) in rooms:
            assert not [word for word in unknown if f"import {word}" in path.read_text()], name
            assert not [word for word in unknown if f"from {word}" in path.read_text()], name
