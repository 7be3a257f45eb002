"""What the tests of the analysis share lies beside them: published examples, brute force."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
