"""Compiles the twins of the hottest modules while madang is built or installed, where that can be done.

Without a C compiler, or with ``MADANG_PURE=1`` in the environment, madang is installed as pure Python and works the
same, only slower.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TWINS = ("protocol/_encoded", "events/_path", "events/_arrival", "transports/_wire")


class CompileTwins(BuildHookInterface[Any]):
    """Builds the extension modules into the source tree, and puts them into the wheel."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, unless it is not wanted or not possible."""
        if self.target_name != "wheel" or os.environ.get("MADANG_PURE"):
            return
        try:
            built = compile_twins(Path(self.root), in_place=version == "editable")
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt) or os.environ.get("MADANG_COMPILED"):
                raise
            self.app.display_warning(f"madang is installed without its compiled modules: {error}")
            return
        build_data["pure_python"] = False
        build_data["infer_tag"] = True
        if version != "editable":
            build_data["force_include"].update({str(path): f"madang/{path.parent.name}/{path.name}" for path in built})


def compile_twins(root: Path, *, in_place: bool) -> list[Path]:
    """Compile all twins, beside their sources or below ``build``; their paths."""
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension
    from setuptools.command.build_ext import build_ext

    os.chdir(root)  # Cython looks for declarations below the working directory
    flags = [] if sys.platform == "win32" else ["-O3", "-g0"]
    with tempfile.TemporaryDirectory() as work:
        extensions = [
            Extension(f"madang.{name.replace('/', '.')}", [f"src/madang/{name}.pyx"], extra_compile_args=flags)
            for name in TWINS
        ]
        modules = cythonize(extensions, include_path=["src"], build_dir=work, language_level=3, quiet=True)
        command = build_ext(Distribution({"name": "madang", "ext_modules": modules, "package_dir": {"": "src"}}))
        command.inplace = in_place
        command.build_lib = str(root / "build" / "compiled")
        command.build_temp = work
        command.force = True
        command.parallel = os.cpu_count()
        command.ensure_finalized()
        command.run()
        return [Path(command.get_ext_fullpath(module.name)).resolve() for module in modules]
