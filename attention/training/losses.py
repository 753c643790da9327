"""What a student is asked to have in common with its teacher.

All take what model.Trace holds of both; the weights of a phase are in train.PHASES.
"""
import torch
import torch.nn.functional as F


def cosine(student, teacher):
    """1 - <s, t> of unit vectors (B, D)."""
    return 1 - (student * teacher).sum(-1).mean()


def similarities(student, teacher, queue, temperature=0.05):
    """KL from the teacher's similarities to those of the student, against teacher embeddings
    alone, as a student's queries will meet them: the batch's own and the queue's (Q, D)."""
    pool = torch.cat([teacher, queue])
    own = torch.eye(len(teacher), len(pool), dtype=torch.bool)
    want = (teacher @ pool.T / temperature).masked_fill(own, -1e9)
    have = (student @ pool.T / temperature).masked_fill(own, -1e9)
    return F.kl_div(have.log_softmax(-1), want.log_softmax(-1), log_target=True,
                    reduction="batchmean")


class Directions:
    """Where a teacher's hidden states vary: a mean and the first principal directions of each
    layer's output (BinaryDM's low-rank representation mimicking, arXiv:2404.05662)."""

    @torch.no_grad()
    def __init__(self, hidden, mask, rank):
        self.basis, self.size = [], []
        for states in hidden[1:]:
            x = states[mask]
            x = x - x.mean(0)
            directions = torch.linalg.svd(x.T @ x).U[:, :rank]
            self.basis.append(directions)
            self.size.append((x @ directions).square().sum(-1).mean())

    def loss(self, i, student, teacher, mask):
        """Mean squared distance of layer i's outputs, 1 being the teacher's own variance."""
        apart = ((student - teacher) @ self.basis[i]).square().sum(-1)
        return (apart * mask).sum() / mask.sum() / self.size[i]


def value_relations(student, teacher, mask):
    """KL between softmax(v v^T / sqrt(d)) of both, (B, N, H, d): MiniLM's relations
    (arXiv:2012.15828), of values alone: hash heads have no scores."""
    real = mask[:, None, :, None] * 1.0

    def scores(v):
        v = v.transpose(1, 2).float()
        s = v @ v.transpose(-1, -2) / v.shape[-1] ** 0.5
        return s.masked_fill(~mask[:, None, None], -1e9).log_softmax(-1)

    want, have = scores(teacher), scores(student)
    apart = (want.exp() * (want - have)).sum(-1, keepdim=True)
    return (apart * real).sum() / (real.sum() * teacher.shape[2])


def contexts(student, teacher, mask):
    """Relative squared distance of attention outputs (B, N, D)."""
    real = mask[..., None]
    return ((student - teacher).square() * real).sum() / (teacher.square() * real).sum()


def bits(student, teacher, rotation, temperature=0.1):
    """Softplus on the signs of rotated coordinates, weighted by how sure the teacher is of
    them: what a binarizer will make of both."""
    s, t = student @ rotation, teacher @ rotation
    weight = t.abs() / t.abs().mean()
    return (weight * F.softplus(-torch.sign(t) * s / temperature * s.shape[-1] ** 0.5
                                )).mean()
