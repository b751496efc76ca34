"""Workers run the package that the loop runs, whatever else of that name an environment holds.

``python -m`` would take the installed one, which need not be the one at hand (a second clone, an older wheel): rows would
then name code that did not make them. So a worker is told the file.
"""

import sys
from pathlib import Path

_PACKAGE = "hyposcreen"
_PLACE = str(Path(__file__).parents[2] / "__init__.py")
_START = (
    "import importlib.util as u, runpy, sys; place, module = sys.argv[1:3]; del sys.argv[1:3]; "
    f"spec = u.spec_from_file_location('{_PACKAGE}', place); package = u.module_from_spec(spec); "
    f"sys.modules['{_PACKAGE}'] = package; spec.loader.exec_module(package); "
    "runpy.run_module(module, run_name='__main__', alter_sys=True)"
)


def python_of(module: str) -> list[str]:
    """What starts ``module`` of this very package in a new interpreter: neither the working folder nor the user's own
    packages are looked at. Its arguments follow."""
    return [sys.executable, "-s", "-P", "-c", _START, _PLACE, f"{_PACKAGE}.{module}"]
