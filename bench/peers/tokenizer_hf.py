"""Our tokenizer against Hugging Face's (tokenizers, in Rust): the same texts and
vocabulary, one core, rounds in turns, medians of processor time.

usage: tokenizer_hf.py BENCH_ENCODER     (started pinned to one core, by bench/run.sh)
"""
import os
import statistics
import subprocess
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402
from tokenizers.implementations import BertWordPieceTokenizer  # noqa: E402

ROUNDS = 15


def main():
    program = sys.argv[1]
    texts = subprocess.run([program, "texts"], capture_output=True, text=True,
                           check=True).stdout.split("\n")[:-1]
    theirs = BertWordPieceTokenizer("models/static/vocab.txt", lowercase=True)
    ours = subprocess.Popen([program, "rounds"], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE, text=True)
    rates, one, batch = [], [], []
    for _ in range(ROUNDS):
        ours.stdin.write("\n")
        ours.stdin.flush()
        pieces, seconds = map(float, ours.stdout.readline().split())
        rates.append(pieces / seconds)
        start = time.process_time()
        found = [theirs.encode(t, add_special_tokens=False) for t in texts]
        one.append(pieces / (time.process_time() - start))
        start = time.process_time()
        theirs.encode_batch(texts, add_special_tokens=False)
        batch.append(pieces / (time.process_time() - start))
        if sum(len(f.ids) for f in found) != pieces:
            sys.exit("the tokenizers differ")
    own, peer = (statistics.median(r) for r in (rates, one))
    peer = max(peer, statistics.median(batch))
    print(f"tokenizer, {len(texts)} texts of 1 KB, 1 core: ours {own / 1e6:.2f} M tokens/s "
          f"(bar 1.5), tokenizers {tokenizers.__version__} {peer / 1e6:.2f} M: "
          f"{own / peer:.1f} times as fast\n")


main()
