"""Modules that the program has loaded by their files, from folders that are not on sys.path; workers find them there too.

pytest's importlib mode loads tests so, and `importlib.util.spec_from_file_location` does. Functions and classes of such a
module travel by its name, which a worker could not import otherwise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from types import ModuleType

_PACKAGE = "__init__.py"


def modules_off_the_path() -> dict[str, str]:
    """The file of each module whose name and file do not fit to an entry of sys.path; "" for a package without one."""
    roots = {os.path.abspath(entry) for entry in sys.path}
    found: dict[str, str] = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if (
            name != "__main__"
            and isinstance(file, str)
            and file.endswith(".py")
            and not _is_below(file, name, roots)
        ):
            found[name] = os.path.abspath(file)
    for name in list(found):
        while name := name.rpartition(".")[0]:
            found.setdefault(name, getattr(sys.modules.get(name), "__file__", None) or "")
    return found


def _is_below(file: str, name: str, roots: set[str]) -> bool:
    """Whether an import by name would find the file in one of the folders."""
    path = os.path.dirname(file) if os.path.basename(file) == _PACKAGE else file.removesuffix(".py")
    parts = name.split(".")
    root = path
    for part in reversed(parts):
        root, last = os.path.split(root)
        if last != part:
            return False
    return os.path.abspath(root) in roots


class LoadedModules:
    """Finds modules by the files that the program loaded them from. Asked last, when nothing else knows a name."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self._files = files

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """How the module is loaded; None when it is none of these."""
        file = self._files.get(name)
        if file is None:
            return None
        if not file:
            return ModuleSpec(name, None, is_package=True)
        folders = [os.path.dirname(file)] if os.path.basename(file) == _PACKAGE else None
        return spec_from_file_location(name, file, submodule_search_locations=folders)
