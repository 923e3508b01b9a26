"""The configurations, one file per data set.

They are in the folder `configs` of a checkout, and an installation puts them here.
"""

from pathlib import Path

_CHECKOUT = Path(__file__).parents[2] / "configs"
if (_CHECKOUT / "__init__.py").is_file():
    __path__.append(str(_CHECKOUT))
