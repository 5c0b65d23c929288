from prominence.description import InputFile

__all__ = ["InputFile"]
