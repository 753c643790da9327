"""Energy of attention by EcoFormer's own count, for the shape of all-MiniLM-L6-v2.

usage: energy.py

The paper counts multiplications and additions and weighs them with what they cost in
45 nm: float32 3.7 and 0.9 pJ (its table), int8 .2 and .03 pJ (Horowitz, ISSCC 2014, from
which the paper's figures come, too). No count of this kind has memory in it, and it says
nothing about time on a processor: a multiply-add costs ours what an addition does.

Counted here, other than in the paper's code: the products of tokens and anchors (it counts
two additions an element and no multiplication), the products of features and planes, and
exponentials, a float32 polynomial of 6 multiplications and 6 additions each (ours has as many).
Left out on all sides: normalising queries, divisions at the end (one a number).
"""
HEADS, HEAD_DIMS, DIMS, INNER, LAYERS = 12, 32, 384, 1536, 6
BITS, ANCHORS = 16, 25
MUL, ADD, MUL8, ADD8 = 3.7, 0.9, 0.2, 0.03
EXP = (6, 6)


def softmax(n):
    """Per head and text: (multiplications, additions, exponentials), float32."""
    return 2 * n * n * HEAD_DIMS, 2 * n * n * HEAD_DIMS + n * n, n * n


def read(n):
    """The state of +1 and -1 sums (BITS x HEAD_DIMS, and its own sums): only additions."""
    return 0, 2 * n * BITS * (HEAD_DIMS + 1) + n * HEAD_DIMS, 0


def kernel(n, sides):
    m, a, e = read(n)
    inner = sides * n * (ANCHORS * HEAD_DIMS + BITS * ANCHORS)
    return m + inner, a + inner, e + sides * n * ANCHORS


def linear(n, sides):
    m, a, e = read(n)
    inner = sides * n * BITS * HEAD_DIMS
    return m + inner, a + inner, e


def paper(n):
    """As its code has it: shared queries and keys, distances as additions alone."""
    m, a, e = read(n)
    return m + n * BITS * ANCHORS, a + n * (2 * ANCHORS * HEAD_DIMS + BITS * ANCHORS), e


def energy(counts):
    m, a, e = counts
    return (m + e * EXP[0]) * MUL + (a + e * EXP[1]) * ADD


def main():
    forms = [
        ("softmax", softmax),
        ("kernel hash, as the paper counts", paper),
        ("kernel hash, queries = keys", lambda n: kernel(n, 1)),
        ("kernel hash, queries and keys", lambda n: kernel(n, 2)),
        ("linear hash, queries = keys", lambda n: linear(n, 1)),
        ("linear hash, queries and keys", lambda n: linear(n, 2)),
    ]
    print("energy by EcoFormer's count, 45 nm, whole model of 6 layers a text, without memory")
    print("| attention                        | tokens | M mul   | M add   | k exp   | uJ      "
          "| x softmax |")
    for n in (16, 128, 512):
        base = energy(softmax(n))
        for name, count in forms:
            m, a, e = (c * HEADS * LAYERS for c in count(n))
            uj = energy((m, a, e)) * 1e-6
            print(f"| {name:32} | {n:6} | {m * 1e-6:7.2f} | {a * 1e-6:7.2f} "
                  f"| {e * 1e-3:7.1f} | {uj:7.2f} | {energy(count(n)) / base:9.3f} |")
    products = LAYERS * (4 * DIMS * DIMS + 2 * DIMS * INNER)
    print("matrices of 6 layers, uJ a token: "
          f"float {products * (MUL + ADD) * 1e-6:.1f}, "
          f"int8 {products * (MUL8 + ADD8) * 1e-6:.2f}, "
          f"ternary (additions of int8 alone) {products * ADD8 * 1e-6:.2f}")


main()
