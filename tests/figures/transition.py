"""Settings of figure 5, and 12, that take a second or two."""

TRANSITION = {
    "d": 50,
    "steps": 2000,
    "runs": 4,
    "omegas": 3,
    "rates": (0.5,),
    "paths": 2,
    "law_omegas": 2,
    "check_omegas": (0.4,),
    "check_runs": 4,
    "check_steps": 500,
}
