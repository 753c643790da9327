"""Files that are there whole or not at all, and what files are known by."""
import hashlib
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path):
    """A name to write to, nobody else's, that becomes path when all went well."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=path.stem + ".tmp-") as folder:
        made = Path(folder, path.name)
        yield made
        os.replace(made, path)


def digest(*parts):
    """Of bytes, arrays, or the contents of paths, in order; none runs into the next."""
    known = hashlib.sha256()
    for part in parts:
        one = hashlib.sha256(part.read_bytes() if isinstance(part, Path) else part)
        known.update(one.digest())
    return known.hexdigest()[:12]


def digest_of_folder(folder):
    """What the model of a folder is known by: the student's, or a teacher's."""
    names = ("model.safetensors", "config.json", "vocab.txt", "1_Pooling/config.json")
    return digest(*(part for name in names if (folder / name).exists()
                    for part in (name.encode(), folder / name)))
