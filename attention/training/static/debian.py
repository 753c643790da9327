"""Pairs from Debian's package descriptions: summary to the long description.

Reads the packages that `make demo` fetches (build/demo/packages.jsonl) and writes
WORK/debian-pairs.jsonl.  Packages that share a description (libraries and their
-dev, -doc, -dbg) give one pair.
"""
import json

import common


def main():
    args = common.arguments(__doc__, packages="build/demo/packages.jsonl")
    seen, n = set(), 0
    with open(args.work / "debian-pairs.jsonl", "w", encoding="utf-8") as out:
        for package in common.json_lines(common.Path(args.packages)):
            body = package["text"].partition("\n")[2].strip()
            opening = body[:160]
            if len(body) < 40 or opening in seen:
                continue
            seen.add(opening)
            pair = {"query": package["summary"], "positive": body}
            out.write(json.dumps(pair, ensure_ascii=False) + "\n")
            n += 1
    print(f"{n} pairs")


if __name__ == "__main__":
    main()
