"""``python -m jaxspk.cli`` is the ``jaxspk`` command."""

import sys

from jaxspk.cli import main

if __name__ == "__main__":
    sys.exit(main())
