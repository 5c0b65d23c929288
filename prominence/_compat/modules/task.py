from prominence.description import Task

__all__ = ["Task"]
