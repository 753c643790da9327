"""build/training.so (make training): what makes training on processors fast."""
import ctypes
import os
from functools import cache
from pathlib import Path

BUILT = Path(__file__).resolve().parents[2] / "build/training.so"


@cache
def library():
    """None where it is not built; $HALFTONE_TRAINING_LIBRARY names another.  Behind torch, whose
    OpenMP threads are then its own."""
    path = Path(os.environ.get("HALFTONE_TRAINING_LIBRARY", BUILT))
    return ctypes.CDLL(path) if path.exists() else None
