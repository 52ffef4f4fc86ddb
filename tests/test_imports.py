"""Who may import whom: the tables of CONTRIBUTING.md, held for every import, those inside functions too."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("autogaze", "bench", "kernels", "reports", "suites")
LEAVES_FOR_USERS = (
    "autogaze.datasets.video_utils",
    "autogaze.models.autogaze.autogaze",
    "autogaze.models.autogaze.processing_autogaze",
    "autogaze.utils",
)
"""Released names for those who use the library; what is inside goes to where things really are."""


@cache
def modules() -> dict[str, Path]:
    """Return the file of every module of the project."""
    files = (path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in files
    }


@cache
def imports() -> frozenset[tuple[str, str]]:
    """Return each pair of modules of which the first imports the second."""
    return frozenset(
        (importer, imported)
        for importer, path in modules().items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for imported in _named_by(node)
        if imported in modules() and imported != importer
    )


def _named_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        for alias in node.names:
            member = f"{node.module}.{alias.name}"
            yield member if member in modules() else node.module


@cache
def permissions() -> dict[str, set[str]]:
    """Return, for every room of the tables, the rooms that it may import."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    _, folders, wings = re.split(r"^\| room \|.*\n\|[-|]+\n", text, flags=re.MULTILINE)
    return _rows(folders, "") | _rows(wings, "autogaze.")


def _rows(table: str, prefix: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    table = table.partition("\n\n")[0] + "\n"  # what follows may have tables of its own
    for row in re.findall(r"^\|(.*)\|\n", table, flags=re.MULTILINE):
        holders, _, allowed = row.split("|")
        above = set(found)
        rooms = [_module(prefix, name) for name in re.findall(r"`([^`]+)`", holders)]
        names = {_module(prefix, name) for name in re.findall(r"`([^`]+)`", allowed)}
        if "everything" in allowed:
            names = above | set(PACKAGES if not prefix else ())
        for room in rooms:
            found[room] = names | set(rooms)
    return found


def _module(prefix: str, name: str) -> str:
    return prefix + name.rstrip("/").removesuffix(".py").replace("/", ".")


def room_of(module: str, rooms: list[str]) -> str:
    """Return the smallest room of the tables that ``module`` is in."""
    return max((room for room in rooms if f"{module}.".startswith(f"{room}.")), key=len)


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_import_what_the_tables_of_contributing_allow(package: str) -> None:
    allowed = permissions()
    broken = [
        f"{importer} imports {imported}"
        for importer, imported in sorted(imports())
        if importer.startswith(package) and not _may(importer, imported, allowed)
    ]
    assert broken == []


def _may(importer: str, imported: str, allowed: dict[str, set[str]]) -> bool:
    room = room_of(importer, list(allowed))
    names = allowed[room]
    if room.startswith("autogaze") and imported.startswith("kernels"):
        names = allowed["autogaze"]
    return any(f"{imported}.".startswith(f"{name}.") for name in names | {room})


def test_the_tables_have_a_row_for_every_room() -> None:
    named = set(permissions())
    folders = {
        f"autogaze.{path.name}" for path in (ROOT / "autogaze").iterdir() if (path / "__init__.py").exists()
    }
    files = {f"autogaze.{path.stem}" for path in (ROOT / "autogaze").glob("[a-z]*.py")}
    assert folders | files | set(PACKAGES) <= named


def test_a_room_of_the_library_imports_only_rooms_above_it_in_the_table() -> None:
    order = [room for room in permissions() if room.startswith("autogaze.")]
    for place, room in enumerate(order):
        later = permissions()[room] & set(order[place + 1 :])
        together = {other for other in later if permissions()[other] == permissions()[room]}
        assert later - together == set(), room


def test_no_module_imports_itself_by_a_detour() -> None:
    graph: dict[str, set[str]] = {}
    for importer, imported in imports():
        graph.setdefault(importer, set()).add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_nothing_inside_imports_what_has_released_names_for_users() -> None:
    assert [importer for importer, imported in imports() if imported in LEAVES_FOR_USERS] == []


@pytest.mark.parametrize("heavy", ["torch", "transformers"])
def test_reports_are_drawn_without_torch(heavy: str) -> None:
    statement = re.compile(rf"^\s*(import|from) {heavy}\b", re.MULTILINE)
    drawing = {name: path for name, path in modules().items() if name.startswith("reports")}
    assert [name for name, path in drawing.items() if statement.search(path.read_text())] == []


def test_the_check_sees_an_import_inside_a_function() -> None:
    inside = ast.parse("def late():\n    from bench import journal\n")
    found = {name for node in ast.walk(inside) for name in _named_by(node)}
    assert found == {"bench.journal"}
    assert not _may("reports.naming", "kernels.registry", permissions())
    assert not _may("autogaze.video.timeline", "autogaze.models.autogaze", permissions())
