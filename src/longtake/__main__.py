"""`python -m longtake`, which is also what `torchrun -m longtake` starts."""

import sys

from longtake.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
