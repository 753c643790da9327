"""build/training.so (make training): what makes training on processors fast."""
import ctypes
from functools import cache
from pathlib import Path

PATH = Path(__file__).resolve().parents[2] / "build" / "training.so"


@cache
def library():
    """None where it is not built.  Behind torch, whose OpenMP threads are then its own."""
    return ctypes.CDLL(PATH) if PATH.exists() else None
