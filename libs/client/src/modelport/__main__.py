"""`python -m modelport` is the `modelport` command."""

import sys

from modelport.cli.app import main

sys.exit(main())
