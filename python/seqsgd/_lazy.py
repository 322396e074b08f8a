"""Heavy libraries, loaded at their first use: `import seqsgd` costs little more than NumPy."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _Lazy(ModuleType):
    """Stands for a module until an attribute of it is used."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(import_module(self.__name__), name)
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import scipy as scipy
    import xarray as xarray
else:
    scipy = _Lazy("scipy")  # which loads its submodules by itself
    xarray = _Lazy("xarray")
