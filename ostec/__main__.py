"""``python -m ostec`` is ``ostec``."""

import sys

from ostec.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
