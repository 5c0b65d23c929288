from prominence.description import Factory, ParameterSet, ParameterSweep, Repeat, Zip

__all__ = ["Factory", "ParameterSet", "ParameterSweep", "Repeat", "Zip"]
