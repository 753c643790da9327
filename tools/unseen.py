#!/usr/bin/env python3
"""The first N lines of files that share no passage with the documents of judged sets.

usage: tools/unseen.py FOLDER N FILE...    (FOLDER/SET/corpus.jsonl)

A passage is twelve words in a row, or a shorter text as a whole; a word is a row of letters
and digits, whatever their case.
"""

import json
import re
import sys
from pathlib import Path

PASSAGE = 12


def passages(text):
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {hash(tuple(words[i : i + PASSAGE])) for i in range(max(1, len(words) - PASSAGE + 1))}


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    folder, n, *files = sys.argv[1:]
    judged, dropped, left = set(), 0, int(n)
    for path in Path(folder).glob("*/corpus.jsonl"):
        for line in path.open(encoding="utf-8"):
            judged |= passages(json.loads(line).get("text", ""))
    if not judged:
        sys.exit(f"{folder}: expected SET/corpus.jsonl with documents")
    for line in (line for file in files for line in open(file, encoding="utf-8")):
        if left == 0:
            break
        if judged.isdisjoint(passages(line)):
            sys.stdout.write(line)
            left -= 1
        else:
            dropped += 1
    if left > 0:
        sys.exit(f"unseen.py: expected {n} lines, not {int(n) - left}")
    print(f"unseen.py: {dropped} lines left out", file=sys.stderr)


if __name__ == "__main__":
    main()
