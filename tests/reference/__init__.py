"""The model in plain NumPy, float64, written from its formulas (docs: notation, sections 1 to 3)
and from nothing else.

Everything works on arrays whose last axis is the token (fields) or the output, with any axes before
it, and on complex numbers too, so that gradients can be proven by a complex step. Nothing here is
fast, and nothing here knows how the core does it.
"""

from .links import attention_target, hermite, named, names, positional_semantic, smallest_length
from .reduced import Reduced
from .sgd import Sgd, decay, piecewise
from .simulation import tied_relu_sum
from .students import Attention, Network, activation, hermite_series, softmax_rows
from .task import LOSSES, Task, stacked

__all__ = [
    "LOSSES",
    "Attention",
    "Network",
    "Reduced",
    "Sgd",
    "Task",
    "activation",
    "attention_target",
    "decay",
    "hermite",
    "hermite_series",
    "named",
    "names",
    "piecewise",
    "positional_semantic",
    "smallest_length",
    "softmax_rows",
    "stacked",
    "tied_relu_sum",
]
