"""The library is loaded once: on its import it says that a module of it is deprecated."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import sdc11073.consumer  # noqa: F401 - loaded, not used
