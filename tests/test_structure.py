"""The house keeps its order: imports run one way, packages are listed, public names are documented, layout is as agreed."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import hornbeam

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = {
    "sdk": "hornbeam",
    "io": "hornbeam.io",
    "runners": "hornbeam.runners",
    "transforms": "hornbeam.transforms",
}

#: Who may import whom at run time: a package may import itself and what stands in its row.
FOUNDATION = (
    "error",
    "version",
    "utils",
    "graph",
    "coders",
    "typehints",
    "options",
    "metrics",
    "display",
    "resources",
)
AUTHORING = (
    *FOUNDATION,
    "pvalue",
    "nested",
    "applied",
    "translation",
    "type_inference",
    "user_code",
    "pipeline",
)
ALLOWED: dict[str, tuple[str, ...]] = {
    "error": (),
    "version": (),
    "uncaught": ("error",),
    "utils": ("error",),
    "storage": (),
    "options": ("error", "utils", "display"),
    "metrics": ("error", "utils"),
    "graph": ("error", "utils", "coders"),
    "transforms": AUTHORING,
    "io": (*AUTHORING, "transforms", "storage"),
    "testing": (*AUTHORING, "transforms", "io", "runners.runner"),
    "runners.runner": FOUNDATION,
    "runners.planner": (*FOUNDATION, "transforms"),
    "runners.engine": (*FOUNDATION, "pvalue", "transforms", "runners.planner"),
    "runners.direct": (*FOUNDATION, "transforms", "runners.planner", "runners.engine", "runners.runner"),
    "runners.processes": (*FOUNDATION, "runners.engine"),
    "runners.multiprocess": (
        *FOUNDATION,
        "transforms",
        "runners.planner",
        "runners.engine",
        "runners.processes",
        "runners.runner",
    ),
    "runners.log": (
        *FOUNDATION,
        "storage",
        "transforms",
        "runners.planner",
        "runners.engine",
        "runners.direct",
        "runners.processes",
        "runners.runner",
    ),
}


#: Modules that Beam's paths, or their use, put into transforms although they are built on io. Nothing below imports them.
BUILT_ON_IO = ("hornbeam.transforms.periodicsequence", "hornbeam.transforms.refreshed")


def sources() -> Iterator[tuple[str, Path]]:
    """(module name, file) of everything in the package."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *parts]).removesuffix(".__init__"), path


def imports_at_run_time(path: Path) -> Iterator[tuple[str, bool]]:
    """(module, whether it is inside a function) of every import that is not for type checkers only."""

    def walk(node: ast.AST, inside: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom) and child.module and child.level == 0:
                if child.module == "hornbeam":
                    yield from ((f"hornbeam.{alias.name}", inside) for alias in child.names)
                else:
                    yield child.module, inside
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from walk(child, inside or function)

    return walk(ast.parse(path.read_text(encoding="utf-8")), False)


def within(module: str, package: str) -> bool:
    return module == f"hornbeam.{package}" or module.startswith(f"hornbeam.{package}.")


@pytest.mark.parametrize("package", ALLOWED)
def test_imports_run_one_way(package: str) -> None:
    wrong = []
    for module, path in sources():
        if not within(module, package) or module in BUILT_ON_IO:
            continue
        for imported, inside in imports_at_run_time(path):
            if not imported.startswith("hornbeam.") or inside:
                continue
            if not any(within(imported, other) for other in (package, *ALLOWED[package])):
                wrong.append(f"{path.relative_to(ROOT)} imports {imported}")
    assert not wrong, "\n".join(wrong)


def test_nothing_of_the_authoring_side_imports_a_runner() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for module, path in sources()
        if not module.startswith(("hornbeam.runners", "hornbeam.cli", "hornbeam.testing"))
        for imported, _ in imports_at_run_time(path)
        if imported.startswith("hornbeam.runners")
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_below_imports_what_is_built_on_io() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {imported}"
        for module, path in sources()
        if module not in BUILT_ON_IO and not module.startswith("hornbeam.testing")
        for imported, _ in imports_at_run_time(path)
        if imported in BUILT_ON_IO
    ]
    assert not wrong, "\n".join(wrong)


def test_every_package_is_listed_for_installation() -> None:
    with open(ROOT / "pyproject.toml", "rb") as file:
        listed = tomllib.load(file)["tool"]["setuptools"]["packages"]
    found = sorted({module for module, path in sources() if path.name == "__init__.py"})
    assert sorted(listed) == found


def test_the_package_folder_holds_none_of_the_mapped_names() -> None:
    assert not {"io", "runners", "transforms"} & {path.name for path in (ROOT / "sdk").iterdir()}


def modules() -> list[str]:
    found = pkgutil.walk_packages(hornbeam.__path__, "hornbeam.")
    return sorted({name for _, name, _ in found if not name.endswith(".__main__")} | {"hornbeam"})


@pytest.mark.parametrize("name", modules())
def test_public_names_have_docstrings(name: str) -> None:
    module = importlib.import_module(name)
    missing = [] if module.__doc__ else [name]
    for public, value in vars(module).items():
        if public.startswith("_") or getattr(value, "__module__", None) != name:
            continue
        if inspect.isfunction(value) and not value.__doc__:
            missing.append(public)
        elif inspect.isclass(value):
            if not value.__doc__:
                missing.append(public)
            for member, function in vars(value).items():
                if member.startswith("_") or not inspect.isfunction(function):
                    continue
                if not inspect.getdoc(getattr(value, member)):
                    missing.append(f"{public}.{member}")
    assert not missing, f"{name} lacks docstrings: {', '.join(missing)}"


def test_heavy_libraries_load_only_when_used() -> None:
    code = "import sys, hornbeam; print(sorted({'numpy', 'pyarrow', 'multiprocess', 'pandas'} & set(sys.modules)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_no_file_is_too_long_for_one_noun() -> None:
    long = [f"{path.relative_to(ROOT)}" for _, path in sources() if len(path.read_text().splitlines()) > 600]
    assert not long
