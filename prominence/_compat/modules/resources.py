from prominence.description import Resources
from prominence.description.resources import CpusInterval

__all__ = ["CpusInterval", "Resources"]
