"""Score the teacher itself on dev sets, at its own limit of 256 pieces.

    --sets scifact,med,...    --bfloat16 0 for float32, about half as fast
"""
import torch

import common
import evaluate
from teacher import Teacher


def main():
    args = common.arguments(__doc__, sets=",".join(evaluate.SETS), threads=1, bfloat16=0)
    torch.set_num_threads(args.threads)
    teacher = Teacher(args.bfloat16)

    def embed(tokens):
        return common.unit(teacher.embed([tokens[i][:254] for i in range(len(tokens))]))
    sts = evaluate.Similarity(args.data, args.work, "dev")
    print(f"stsb dev {sts.score(*(embed(t) for t in sts.tokens)):.4f}", flush=True)
    for name in args.sets.split(","):
        collection = evaluate.Collection(args.data, args.work, name)
        ndcg, recall = collection.score(embed(collection.queries), embed(collection.documents))
        print(f"{name} nDCG@10 {ndcg:.4f} recall@100 {recall:.4f}", flush=True)


if __name__ == "__main__":
    main()
