"""Records of a simulated journal, and a record made of them."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
