"""Print the command that README.md marks with ``<!-- command: NAME -->``, so that CI runs what readers run."""

import re
import sys
from pathlib import Path

readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
found = re.search(rf"<!-- command: {re.escape(sys.argv[1])} -->\n```sh\n(.*?)\n```", readme, re.DOTALL)
if found is None:
    sys.exit(f"README.md marks no command '{sys.argv[1]}'")
print(found.group(1))
