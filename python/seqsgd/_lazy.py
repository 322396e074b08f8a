"""Heavy libraries, loaded at their first use: `import seqsgd` costs little more than NumPy."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any


class _Lazy(ModuleType):
    """Stands for a module until an attribute of it is used."""

    def __getattr__(self, name: str) -> Any:
        module = import_module(self.__name__)
        try:
            value = getattr(module, name)
        except AttributeError:
            try:
                value = import_module(f"{self.__name__}.{name}")
            except ModuleNotFoundError:
                missing = f"module {self.__name__!r} has no attribute {name!r}"
                raise AttributeError(missing) from None
        setattr(self, name, value)
        return value


if TYPE_CHECKING:
    import matplotlib as matplotlib
    import matplotlib.cm
    import matplotlib.colors
    import matplotlib.mathtext
    import matplotlib.pyplot
    import scipy as scipy
    import xarray as xarray
    from matplotlib.backends import backend_agg as backend_agg
else:
    matplotlib = _Lazy("matplotlib")
    backend_agg = _Lazy("matplotlib.backends.backend_agg")
    scipy = _Lazy("scipy")  # which loads its submodules by itself
    xarray = _Lazy("xarray")
