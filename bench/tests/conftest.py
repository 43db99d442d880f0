"""The programs of the comparison are no package: they run as scripts from their own directory."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
