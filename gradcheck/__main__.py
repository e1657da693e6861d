"""``python -m gradcheck`` is ``jaxspk gradcheck``."""

import sys

from jaxspk.cli import main

if __name__ == "__main__":
    sys.exit(main(["gradcheck", *sys.argv[1:]]))
