"""Theory without simulation: Hermite tensors and exponents, risk, flow, complexity, landscape
(docs: "What is known without a simulation" and "Risk, flow, landscapes, phases").

Every number is stated to be exact or comes with an error. The error follows from analyticity for
the functions of the package. It is an estimate for your own functions, which are black boxes. The
model is always the compiled task of the core.
"""

from .complexity import (
    BestRate,
    Complexity,
    Gain,
    RecoveryTime,
    best_lr,
    complexity,
    gain,
    weak_recovery,
)
from .flatness import Flatness, flatness_index
from .flow import Flow, LargestRate, drift, flow, largest_lr
from .hermite import (
    Coefficients,
    Exponent,
    HermiteTensors,
    NormBounds,
    Odeco,
    SymmetricTensor,
    hermite,
    hermite_coefficients,
    sie,
)
from .landscape import Critical, Flat, Landscape, landscape
from .phases import PhaseDiagram, phase_diagram
from .risk import Risk, risk

# A function that bears the name of its module (hermite, risk, flow, landscape) is bound here after
# the module was imported, and so wins as an attribute;
# the module's other names are reached by `from seqsgd.theory.flow import ...`. No module of this
# package imports SciPy at its top: `import seqsgd` stays light.

__all__ = [
    "BestRate",
    "Coefficients",
    "Complexity",
    "Critical",
    "Exponent",
    "Flat",
    "Flatness",
    "Flow",
    "Gain",
    "HermiteTensors",
    "Landscape",
    "LargestRate",
    "NormBounds",
    "Odeco",
    "PhaseDiagram",
    "RecoveryTime",
    "Risk",
    "SymmetricTensor",
    "best_lr",
    "complexity",
    "drift",
    "flatness_index",
    "flow",
    "gain",
    "hermite",
    "hermite_coefficients",
    "landscape",
    "largest_lr",
    "phase_diagram",
    "risk",
    "sie",
    "weak_recovery",
]
