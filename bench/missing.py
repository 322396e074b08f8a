"""The one exception of the suite."""


class Missing(RuntimeError):
    """A contestant cannot take part on this machine; the message says why."""
