"""The command line of the OSTeC paper's code: ``python run_ostec.py --source_dir DIR --save_dir DIR [-f] [-i 200]``."""

import sys

from ostec.app.cli import main_ostec

if __name__ == "__main__":
    sys.exit(main_ostec())
