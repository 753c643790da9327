"""Long texts: documents embedded whole against passages of them, nDCG@10.

    python long.py --dev DATA/dev --work WORK --teacher DIR --model DIR[,DIR...]
                   [--sets a,b] [--bits B] [--programs build]

Models are folders of 256 positions that halftone opens; each gets the teacher's positions 256 ..
511 behind its own (--teacher: a BERT folder of Hugging Face), which no student was trained with.
Of each set: the documents of more than 256 pieces, cut to 512, and the queries that have a
relevant one among them, judged as they are.  Through a server, codes of B bits (4) as a new
collection has them, queries by the model of 256:

    start     the first 256 pieces of each document
    whole     all of them at once
    passages  "chunk": true: passages of 256 that overlap, of which the best one decides

What was found is kept in WORK/long.
"""
import argparse
import hashlib
import json
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

from evaluate import Set, share
from export import load_teacher, read_tensors, save_tensors
from serve import serving
from text import tokenizer

SHORT, LONG = 256, 512
WAYS = {"start": (SHORT, []), "whole": (LONG, []), "passages": (SHORT, ["--chunk"])}


def lengthen(folder, positions, output):
    """The model of a folder with these positions behind its own: (positions, D), of which it
    has the first."""
    output.mkdir(parents=True)
    for file in folder.iterdir():
        shutil.copy(file, output)
    tensors = {name: t.numpy() for name, t in read_tensors(folder / "model.safetensors").items()}
    own = tensors["position.weight"]
    if len(own) >= len(positions):
        raise ValueError(f"{folder}: expected fewer than {len(positions)} positions, "
                         f"not {len(own)}")
    longer = positions.copy()
    longer[:len(own)] = own
    save_tensors(output / "model.safetensors", tensors | {"position.weight": longer})
    said = json.loads((folder / "config.json").read_text())
    said["max_position_embeddings"] = len(longer)
    (output / "config.json").write_text(json.dumps(said, indent=1) + "\n")


def cut(text, pieces, most):
    """The text as far as whole words have at most so many pieces."""
    found = pieces.encode(text, add_special_tokens=False)
    if len(found.ids) <= most:
        return text
    while most > 0 and found.word_ids[most] == found.word_ids[most - 1]:
        most -= 1
    return text[:found.offsets[most][0]].rstrip()


def keep_long(one, pieces):
    """Make the set one of documents that an encoding of SHORT has no room for, cut to LONG, and
    of queries that are after one of them.  How many pieces each document has, with [CLS] and
    [SEP]."""
    count = lambda text: len(pieces.encode(text, add_special_tokens=False).ids) + 2
    texts = one.texts["documents"]
    kept = [i for i, text in enumerate(texts) if count(text) > SHORT]
    place = {document: i for i, document in enumerate(kept)}
    one.grades = {query: {place[d]: grade for d, grade in grades.items() if d in place}
                  for query, grades in one.grades.items()}
    asked = [i for i, query in enumerate(one.asked) if any(one.grades[query].values())]
    one.asked = [one.asked[i] for i in asked]
    one.texts = {"queries": [one.texts["queries"][i] for i in asked],
                 "documents": [cut(texts[i], pieces, LONG - 2) for i in kept]}
    return [count(text) for text in one.texts["documents"]]


def ask(url, route, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url + route, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["result"]


def search(one, way, name, bits, models, programs):
    """nDCG@10 of each query, and how many vectors the documents became."""
    positions, more = WAYS[way]
    with tempfile.TemporaryDirectory() as work:
        file = Path(work, "documents.jsonl")
        file.write_text("".join(json.dumps({"id": i, "text": text}) + "\n"
                                for i, text in enumerate(one.texts["documents"])))
        with serving(programs / "halftone-server", models, Path(work)) as url:
            subprocess.run([programs / "halftone", "import", "--url", url, "--collection", "long",
                            "--bits", str(bits), "--text-model", f"{name}-{positions}",
                            "--batch", "1", "--connections", "2", *more, file], check=True)
            about = ask(url, "/collections/long")
            if about["points_count"] != len(one.texts["documents"]):
                raise RuntimeError(f"{one.name}: {about['points_count']} documents are stored")
            found = [[point["id"] for point in ask(url, "/collections/long/points/query", {
                "query": {"text": text, "model": f"{name}-{SHORT}"}, "limit": 10})["points"]]
                for text in one.texts["queries"]]
            return {"ndcg": one.ndcg_of(found).tolist(), "vectors": about["indexed_vectors_count"]}


def digest(folder):
    """What a folder's model and binarizers are known by."""
    files = sorted(file for file in folder.iterdir() if file.is_file())
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def kept(path, make):
    """What make() gives, or gave."""
    if not path.exists():
        path.with_suffix(".tmp").write_text(json.dumps(make()))
        path.with_suffix(".tmp").rename(path)
    return json.loads(path.read_text())


def report(sets, name, find):
    """A line a set; find(set, way) -> search()."""
    print(f"{name}\n{'':14}documents   queries    pieces  passages" + "".join(
        f"{way:>10}" for way in WAYS) + "   whole / passages (95 %)")
    for one, lengths in sets:
        found = {way: find(one, way) for way in WAYS}
        n, ndcg = len(lengths), {way: np.array(found[way]["ndcg"]) for way in WAYS}
        part, low, high = share(ndcg["whole"], ndcg["passages"])
        print(f"{one.name:14}{n:9}{len(one.asked):10}{sum(lengths) / n:10.0f}"
              f"{found['passages']['vectors'] / n:10.2f}" + "".join(
                  f"{ndcg[way].mean():10.4f}" for way in WAYS)
              + f"{part:9.3f} ({low:.3f} .. {high:.3f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("dev", "work", "teacher"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", required=True, help="folders, separated by commas")
    parser.add_argument("--sets", default="cisi,cranfield,med,squad11-dev,scifact")
    parser.add_argument("--bits", type=int, default=4)
    parser.add_argument("--programs", type=Path, default=Path("build"))
    args = parser.parse_args()
    positions = load_teacher(args.teacher, positions=LONG).position.weight.detach().numpy()
    vocab = (args.teacher / "vocab.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    pieces = tokenizer(vocab)
    sets = [(one, keep_long(one, pieces)) for one in
            (Set(args.dev / name) for name in args.sets.split(","))]
    (args.work / "long").mkdir(parents=True, exist_ok=True)
    for folder in map(Path, args.model.split(",")):
        with tempfile.TemporaryDirectory() as models:
            models = Path(models)
            (models / f"{folder.name}-{SHORT}").symlink_to(folder.resolve())
            lengthen(folder, positions, models / f"{folder.name}-{LONG}")
            known = digest(folder)
            report(sets, folder.name, lambda one, way: kept(
                args.work / f"long/{one.name}-{way}-{args.bits}-{known}.json",
                lambda: search(one, way, folder.name, args.bits, models, args.programs)))


if __name__ == "__main__":
    main()
