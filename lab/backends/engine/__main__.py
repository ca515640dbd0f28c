"""`python -m lab.backends.engine`"""

import sys

from lab.backends.engine.server import main

sys.exit(main())
