#!/usr/bin/env python3
"""Lines of the standard input that share no passage with the documents of judged sets.

usage: tools/unseen.py FOLDER < LINES    (FOLDER/SET/corpus.jsonl)

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
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    judged, dropped = set(), 0
    for path in Path(sys.argv[1]).glob("*/corpus.jsonl"):
        for line in path.open(encoding="utf-8"):
            judged |= passages(json.loads(line).get("text", ""))
    if not judged:
        sys.exit(f"{sys.argv[1]}: expected SET/corpus.jsonl with documents")
    for line in sys.stdin:
        if judged.isdisjoint(passages(line)):
            sys.stdout.write(line)
        else:
            dropped += 1
    print(f"unseen.py: {dropped} lines left out", file=sys.stderr)


if __name__ == "__main__":
    main()
