"""Vectors of the same items by two encoders, of 96 and of 80 dimensions: mixtures of the same 40
numbers, with noise."""
import random
import struct

random.seed(5)
gauss = random.gauss
mixes = [[[gauss(0, 1) / (k + 2) for k in range(40)] for _ in range(n)] for n in (96, 80)]


def both(mean=0.0):
    """The two vectors of one more item, about this mean."""
    item = [gauss(0, 1) for _ in range(40)]
    return [[mean + sum(a * b for a, b in zip(row, item)) + gauss(0, 0.1) for row in mix]
            for mix in mixes]


def npy(path, rows):
    head = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (len(rows), len(rows[0]))
    head = head + " " * (117 - len(head)) + "\n"
    with open(path, "wb") as f:
        f.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode())
        for row in rows:
            f.write(struct.pack(f"<{len(row)}f", *row))
