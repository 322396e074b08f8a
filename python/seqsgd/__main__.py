"""`python -m seqsgd` is the command line; `python -m seqsgd --cmake-dir` is for build scripts."""

import sys

if sys.argv[1:] == ["--cmake-dir"]:
    from .info import cmake_dir

    print(cmake_dir())
else:
    from .cli.main import main

    main()
