"""The package is laid out as its style guide says: who may import whom, who owns what, and how large a piece may be."""

import ast
import functools
import graphlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "ostec"
MODULES = sorted(PACKAGE.rglob("*.py"))

STAGES = {"detect", "fit", "mask", "light", "prior", "project", "stitch"}
LIBRARIES = {"core", "io", "nets", "render"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "io": {"core"},
    "render": {"core"},
    "nets": {"core"},
    "load": {"core", "io", "nets"},
    **{stage: {"core", "nets", "render"} for stage in STAGES},
    "heads": LIBRARIES | {"fit", "stitch"},
    "complete": {"core", "nets", "render", "prior", "project", "stitch", "light"},
    "export": {"core", "io", "render", "heads"},
    "pipeline": LIBRARIES | STAGES | {"load", "heads", "complete", "export"},
}
MAY_IMPORT["dataset"] = MAY_IMPORT["train"] = MAY_IMPORT["pipeline"] | {"pipeline"}
MAY_IMPORT["eval"] = MAY_IMPORT["dataset"] | {"dataset", "train"}
MAY_IMPORT["app"] = MAY_IMPORT["eval"] | {"eval"}
OWNERS = {
    "PIL": "io/images.py",
    "pickle": "io/weights.py",
    "nvdiffrast": "render/rasterize.py",
    "ray": "dataset/executors.py",
    "requests": "io/web.py",
    "imageio": "io/animation.py",
    "jinja2": "export/templates.py",
}
OPTIONAL = (
    *(
        "lpips",
        "torchvision",
        "cv2",
        "trimesh",
        "ray",
        "pyarrow",
        "imageio",
        "jinja2",
        "tensorflow",
        "mtcnn",
        "nvdiffrast",
    ),
    "requests",
)
BARE = {"core", "nets", "render", "prior", "train"}
BARE_LIBRARIES = {"torch", "numpy", "scipy", "numba", "PIL", "safetensors", "tomli", "tomllib"}  # new in Python 3.11

MAX_MODULE_LINES = 600
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 8


class Import(NamedTuple):
    module: str
    """Dotted name of what is imported, with the names that are taken from it."""
    line: int
    at_top: bool
    """Executed when the module is imported."""
    for_types: bool
    """Never executed."""

    @property
    def library(self) -> str:
        return self.module.partition(".")[0]


@functools.cache
def imports_of(path: Path) -> list[Import]:
    """Every import of a module, those inside functions too."""
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    inside = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for node in ast.walk(function)
    }
    typed = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and isinstance(test.test, ast.Name) and test.test.id == "TYPE_CHECKING"
        for statement in test.body
        for node in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        for_types = id(node) in typed
        at_top = id(node) not in inside and not for_types
        if isinstance(node, ast.Import):
            found += [Import(alias.name, node.lineno, at_top, for_types) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import"
            found += [Import(f"{node.module}.{alias.name}", node.lineno, at_top, for_types) for alias in node.names]
    return found


def relative(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def package_of(path: Path) -> str:
    """``core`` for ostec/core/types.py, ``app`` for ostec/__main__.py, nothing for ostec/__init__.py."""
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return {"__init__": "", "__main__": "app"}.get(first, first)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_run_downwards(path: Path) -> None:
    package = package_of(path)
    if not package:  # ostec/__init__.py gives a few names of its modules, on use
        assert not [e for e in imports_of(path) if e.library == "ostec" and e.at_top]
        return
    assert package in MAY_IMPORT, f"{package} has no place in the table of imports"
    for entry in imports_of(path):
        if entry.library != "ostec":
            continue
        target = [*entry.module.split("."), ""][1]
        if target == package or target.startswith("__"):  # its own package, and ostec.__version__
            continue
        assert target in MAY_IMPORT.get(package, set()), f"{path}:{entry.line}: {package} may not import {entry.module}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_heavy_library_has_one_owner(path: Path) -> None:
    for entry in imports_of(path):
        owner = OWNERS.get(entry.library, relative(path))
        assert entry.for_types or owner == relative(path), f"{path}:{entry.line}: {entry.library} belongs to {owner}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_only_commands_and_settings_know_the_command_line(path: Path) -> None:
    for entry in imports_of(path):
        knows = package_of(path) == "app" or path.name == "settings.py"
        assert entry.library != "tyro" or knows, f"{path}:{entry.line}: tyro is for app and settings"


@pytest.mark.parametrize("path", [path for path in MODULES if package_of(path) in BARE], ids=relative)
def test_what_trains_on_a_bare_gpu_machine_needs_few_libraries(path: Path) -> None:
    allowed = BARE_LIBRARIES | {"ostec"} | sys.stdlib_module_names
    for entry in imports_of(path):
        assert not entry.at_top or entry.library in allowed, f"{path}:{entry.line}: {entry.module} at module level"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_optional_library_is_imported_on_use(path: Path) -> None:
    for entry in imports_of(path):
        assert not entry.at_top or entry.library not in OPTIONAL, f"{path}:{entry.line}: {entry.module} at module level"


def test_importing_every_module_loads_no_optional_library() -> None:
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in MODULES]
    program = f"""
import importlib, json, sys
for name in {names!r}:
    importlib.import_module(name)
print(json.dumps([name for name in {OPTIONAL!r} if name in sys.modules]))
"""
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(run.stdout.splitlines()[-1]) == []


def test_importing_the_package_alone_is_instant() -> None:
    program = (
        "import sys, ostec; print(sorted(sys.modules.keys() & {'torch', 'numpy', 'scipy', 'numba', 'PIL', 'tyro'}))"
    )
    run = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES + sorted((ROOT / "tools").glob("*.py")), ids=lambda path: path.stem)
def test_pieces_are_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_MODULE_LINES, f"{path} is longer than {MAX_MODULE_LINES} lines"
    for function, may_be_long in functions_of(ast.parse(text), path):
        where = f"{path}:{function.lineno}: {function.name}"
        lines = (function.end_lineno or 0) - function.lineno + 1
        assert may_be_long or lines <= MAX_FUNCTION_LINES, f"{where} has {lines} lines"
        arguments = function.args
        names = [argument.arg for argument in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
        names = [name for name in names if name not in ("self", "cls")]
        assert len(names) <= MAX_PARAMETERS, f"{where} has {len(names)} parameters"


def functions_of(tree: ast.Module, path: Path) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, bool]]:
    """Every function, and whether it may be long: constructors of networks, and the one training loop."""
    in_nets, is_loop = package_of_any(path) == "nets", path == PACKAGE / "train/loop.py"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node, is_loop or (in_nets and node.name == "__init__")


def package_of_any(path: Path) -> str:
    return package_of(path) if path.is_relative_to(PACKAGE) else ""


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports inside functions count too: a circle that is broken late is still one."""
    names = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in MODULES}
    graph = {}
    for name, path in names.items():
        imported = {entry.module for entry in imports_of(path)}
        owners = {module if module in names else module.rpartition(".")[0] for module in imported}
        graph[name] = (owners & names.keys()) - {name, "ostec"}
    order = graphlib.TopologicalSorter(graph)
    order.prepare()  # raises CycleError with the circle
