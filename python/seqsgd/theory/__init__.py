"""What can be known without a simulation: Hermite tensors and exponents, risk, flow, complexity,
landscape (docs: "What is known without a simulation" and "Risk, flow, landscapes, phases").

Every number comes with the statement that it is exact, or with an error: one that follows from
analyticity where the function is the package's own, and an estimate where it is the user's, which
is a black box. The model itself is always the compiled task of the core.
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
