"""What can be known without a simulation: Hermite tensors and exponents, risk, flow, complexity, landscape (theory.md, sections 5 to 7).

Every number comes with an error estimate, or the statement that it is exact. The model itself is always the compiled task of the core.
"""

from .hermite import Coefficients, Exponent, HermiteTensors, NormBounds, Odeco, SymmetricTensor, hermite, hermite_coefficients, sie

# A function that bears the name of its module (hermite, risk, flow, landscape) is bound here after the module was imported, and so wins as an attribute;
# the module's other names are reached by `from seqsgd.theory.flow import ...`. No module of this package imports SciPy at its top: `import seqsgd` stays light.

__all__ = ["Coefficients", "Exponent", "HermiteTensors", "NormBounds", "Odeco", "SymmetricTensor", "hermite", "hermite_coefficients", "sie"]
