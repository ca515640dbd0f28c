"""`python -m lab.engine`"""

import sys

from lab.engine.server import main

sys.exit(main())
