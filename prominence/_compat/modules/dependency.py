from prominence.description import Dependency

__all__ = ["Dependency"]
