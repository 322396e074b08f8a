"""One-pass spherical SGD for sequence single-index models and single-layer attention networks.

`Task` combines target, student and loss; `simulate` runs it, `Simulator` advances it step by step,
`sweep` runs it over a grid, `load` reads results.
"""

from typing import TYPE_CHECKING, Any

from . import info as _info
from .errors import (
    ConfigError,
    NonFiniteWarning,
    PrecisionWarning,
    SimulationInterrupted,
    StoreError,
    SweepError,
    SweepInterrupted,
    SweepWarning,
)
from .info import activations, build_config, links, losses
from .models import (
    SSI,
    At,
    Attention,
    AttentionTarget,
    Bilinear,
    CActivation,
    CLink,
    Correlated,
    Decay,
    Every,
    Hermite,
    HermiteSeries,
    Injected,
    LinearAttention,
    LogSpaced,
    Named,
    Opposite,
    Overlap,
    Piecewise,
    PositionalSemantic,
    Positions,
    PowerLaw,
    PyActivation,
    StudentT,
    Task,
    Tied,
    Uniform,
    Untied,
    WeakRecovery,
)
from .results.load import load
from .results.passages import FirstPassage
from .results.result import Result
from .results.resultset import ResultSet
from .simulate import simulate
from .simulator import Simulator
from .sweeps import JobExecutor, Plan, Sweep, SweepResult, open_sweep, plan, sweep

dynamics = _info.dynamics  # the function, not the room of that name

if TYPE_CHECKING:
    from . import ffi, figures, theory  # noqa: F401
    from ._version import __version__

# The theory, the figures and all heavy libraries are loaded at their first use: `import seqsgd`
# costs little more than `import numpy`.


def __getattr__(name: str) -> Any:
    if name in ("ffi", "figures", "theory"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    if name == "__version__":
        from . import _version

        return _version.__version__
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names: tab completion shows the lazy parts too, and nothing internal."""
    return sorted([*__all__, "ffi", *(name for name in globals() if name.startswith("__"))])


__all__ = [
    "SSI",
    "At",
    "Attention",
    "AttentionTarget",
    "Bilinear",
    "CActivation",
    "CLink",
    "ConfigError",
    "Correlated",
    "Decay",
    "Every",
    "FirstPassage",
    "Hermite",
    "HermiteSeries",
    "Injected",
    "JobExecutor",
    "LinearAttention",
    "LogSpaced",
    "Named",
    "NonFiniteWarning",
    "Opposite",
    "Overlap",
    "Plan",
    "Piecewise",
    "PositionalSemantic",
    "Positions",
    "PowerLaw",
    "PrecisionWarning",
    "PyActivation",
    "Result",
    "ResultSet",
    "SimulationInterrupted",
    "Simulator",
    "StoreError",
    "StudentT",
    "Sweep",
    "SweepError",
    "SweepInterrupted",
    "SweepResult",
    "SweepWarning",
    "Task",
    "Tied",
    "Uniform",
    "Untied",
    "WeakRecovery",
    "__version__",
    "activations",
    "build_config",
    "dynamics",
    "figures",
    "links",
    "load",
    "losses",
    "open_sweep",
    "plan",
    "simulate",
    "sweep",
    "theory",
]
