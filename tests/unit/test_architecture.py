"""Imports run downwards only, and heavy libraries stay in their rooms."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import pytest_babyai

PACKAGE = Path(pytest_babyai.__file__).parent
MODULES = sorted(
    path
    for path in PACKAGE.rglob("*.py")
    if "_project" not in path.parts and path.stem != "__main__"
)

# A room may import the rooms named here, itself, and nothing else of the package.
FOUNDATION = {"errors", "records"}
ROOMS = {
    "__init__": {"api", "records", "reporting"},
    "errors": set(),
    "records": set(),
    "child_process": set(),
    "private_files": set(),
    "project": {"errors"},
    "settings": FOUNDATION,
    "statistics": FOUNDATION,
    "environment": FOUNDATION | {"settings"},
    "store": FOUNDATION | {"settings", "child_process", "private_files"},
    "metrics": FOUNDATION | {"environment"},
    "gateway": FOUNDATION | {"settings", "retries", "store", "project"},
    "offline": FOUNDATION | {"child_process"},
    "retries": FOUNDATION | {"settings"},
    "journal": FOUNDATION | {"settings", "statistics"},
    "gate": FOUNDATION | {"settings", "statistics", "metrics", "journal"},
    "reporting": FOUNDATION
    | {"settings", "statistics", "metrics", "gate", "gateway", "journal", "playing"},
    "finetuning": FOUNDATION | {"settings", "statistics", "environment", "gateway", "journal"},
    "playing": FOUNDATION
    | {"settings", "statistics", "environment", "gateway", "journal", "gate", "offline", "store"}
    | {"finetuning", "metrics", "retries", "project"},
    "api": FOUNDATION | {"settings", "environment", "playing", "reporting"},
}

# These may import all the others, and nothing imports them.
ROOFS = {"plugin", "commands"}

HEAVY = {
    "pytest": {"plugin"},
    "_pytest": {"plugin"},
    "tensorzero": {"gateway", "finetuning"},
    "minijinja": {"finetuning", "reporting"},
    "tomli_w": {"gateway"},
    "minigrid": {"environment"},
    "gymnasium": {"environment"},
    "starlette": {"store", "offline"},
    "uvicorn": {"store", "offline"},
    "chdb": {"store"},
    "pandas": {"reporting", "plugin", "api"},
    "altair": {"reporting"},
    "vl_convert": {"reporting"},
    "pyarrow": {"reporting"},
    "tabulate": {"reporting"},
    "scipy": {"statistics"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def type_checking_imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.body:
                if isinstance(each, ast.ImportFrom) and each.module:
                    names.update(f"{each.module}.{alias.name}" for alias in each.names)
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_rooms_below_its_own(path: Path) -> None:
    room = room_of(path)
    imported = {
        name.split(".")[1] for name in imports_of(path) if name.startswith("pytest_babyai.")
    } - {room}

    if room in ROOFS:
        assert imported <= {*ROOMS, room}
    else:
        assert imported <= ROOMS[room]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_heavy_library_stays_in_its_room(path: Path) -> None:
    libraries = {name.split(".")[0] for name in imports_of(path) - type_checking_imports_of(path)}

    misplaced = {name for name in libraries & HEAVY.keys() if room_of(path) not in HEAVY[name]}

    assert misplaced == set()


def test_every_room_of_the_package_is_listed() -> None:
    assert {room_of(path) for path in MODULES} - ROOFS <= ROOMS.keys()


def module_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_module_imports_itself_by_way_of_others() -> None:
    modules = {module_of(path) for path in MODULES}
    graph = {
        module_of(path): {
            name if name in modules else name.rpartition(".")[0]
            for name in imports_of(path)
            if name.startswith("pytest_babyai")
        }
        & modules - {module_of(path)}
        for path in MODULES
    }

    circles = [found for module in sorted(modules) if (found := circle_of(module, graph))]

    assert circles == []


def circle_of(start: str, graph: dict[str, set[str]]) -> list[str]:
    """Returns a way from a module back to it, empty where there is none."""
    ways = [[start]]
    seen: set[str] = set()
    while ways:
        way = ways.pop()
        for following in sorted(graph[way[-1]]):
            if following == start:
                return [*way, start]
            if following not in seen:
                seen.add(following)
                ways.append([*way, following])
    return []
