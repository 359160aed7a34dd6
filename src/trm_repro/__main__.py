"""``python -m trm_repro`` is ``trm-repro``."""

import sys

from trm_repro.cli import main

sys.exit(main())
