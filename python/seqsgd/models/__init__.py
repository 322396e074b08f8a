"""Descriptions of tasks and simulations: frozen, checked, comparable, picklable."""

from ._base import Model
from .functions import CActivation, CLink, Hermite, HermiteSeries, Named, PyActivation
from .positions import Injected, Opposite, Position, Positions
from .rates import Decay, Piecewise, PowerLaw, Rate, Schedule
from .recording import At, Every, LogSpaced, Overlap, Record, Start, Stop, Uniform, WeakRecovery
from .students import Attention, Bilinear, LinearAttention, Student, Tied, Untied
from .task import Task
from .teachers import SSI, AttentionTarget, PositionalSemantic, Teacher
from .tokens import Correlated, StudentT, Tokens

__all__ = [
    "At",
    "Attention",
    "AttentionTarget",
    "Bilinear",
    "CActivation",
    "CLink",
    "Correlated",
    "Decay",
    "Every",
    "Hermite",
    "HermiteSeries",
    "Injected",
    "LinearAttention",
    "LogSpaced",
    "Model",
    "Named",
    "Opposite",
    "Overlap",
    "Piecewise",
    "Position",
    "PositionalSemantic",
    "Positions",
    "PowerLaw",
    "PyActivation",
    "Rate",
    "Record",
    "SSI",
    "Schedule",
    "Start",
    "Stop",
    "Student",
    "StudentT",
    "Task",
    "Teacher",
    "Tied",
    "Tokens",
    "Uniform",
    "Untied",
    "WeakRecovery",
]
