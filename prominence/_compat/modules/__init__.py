"""A directory of ``prominence.__path__``: what lies here is found as ``prominence.<name>``."""
