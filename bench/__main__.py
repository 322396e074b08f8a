"""`python -m bench`, and `python -m bench compare`."""

import sys

if sys.argv[1:2] == ["compare"]:
    from .regression import main as compare

    sys.exit(compare(sys.argv[2:]))

from .compare import main

sys.exit(main())
