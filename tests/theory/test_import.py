"""The theory is loaded when it is asked for, and its functions are not hidden by modules of the
same name.
"""

import subprocess
import sys

CODE = """
import sys
import seqsgd as sq
assert "theory" in sq.__all__ and not any(m.startswith(("scipy", "seqsgd.theory")) for m in sys.modules)
import seqsgd.theory.hermite, seqsgd.theory.flow, seqsgd.theory.complexity, seqsgd.theory.risk
assert "scipy" not in sys.modules
for name in sq.theory.__all__:
    assert callable(getattr(sq.theory, name)), name
assert int(sq.theory.sie(sq.SSI("sum", 3))) == 1
try:
    sq.theorem
except AttributeError as e:
    assert str(e) == "module 'seqsgd' has no attribute 'theorem'"
"""


def test_the_theory_is_loaded_when_it_is_asked_for():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", CODE], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
