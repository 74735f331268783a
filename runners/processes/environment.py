"""What of the program's process workers get, so that user code finds there what it would find in the program."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping

import attrs

from hornbeam.runners.processes.loaded_modules import LoadedModules, modules_off_the_path


@attrs.frozen
class Environment:
    """What of a process user code may look at."""

    variables: Mapping[str, str]
    directory: str
    search_path: tuple[str, ...]
    arguments: tuple[str, ...]
    log_levels: Mapping[str, int]
    modules: Mapping[str, str]

    @classmethod
    def here(cls) -> Environment:
        """This process's."""
        levels = {"": logging.getLogger().level}
        for name, logger in list(logging.Logger.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and logger.level:
                levels[name] = logger.level
        try:
            directory = os.getcwd()
        except FileNotFoundError:
            directory = ""
        arguments = tuple(getattr(sys, "argv", ()))
        return cls(dict(os.environ), directory, tuple(sys.path), arguments, levels, modules_off_the_path())

    def apply(self) -> None:
        """Makes this process look like it."""
        os.environ.clear()
        os.environ.update(self.variables)
        if self.directory:
            try:
                os.chdir(self.directory)
            except OSError:
                pass  # it has gone since; relative paths will say so
        sys.path[:] = self.search_path
        sys.meta_path.append(LoadedModules(self.modules))
        sys.argv[:] = self.arguments
        for name, level in self.log_levels.items():
            logging.getLogger(name).setLevel(level)
