"""Texts to batches: the pieces that the engine's tokenizer gives."""
import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers


def tokenizer(vocab):
    """docs/formats.md "The tokenizer"; vocab: pieces in the order of their ids."""
    ids = {piece: i for i, piece in enumerate(vocab)}
    pieces = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    pieces.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=True, lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return pieces


def tokenize(vocab, texts, pieces_max):
    """A list of ids a text: [CLS], its first pieces_max - 2 pieces, [SEP]."""
    pieces = tokenizer(vocab)
    first, last = pieces.token_to_id("[CLS]"), pieces.token_to_id("[SEP]")
    found = pieces.encode_batch(list(texts), add_special_tokens=False)
    return [[first] + one.ids[:pieces_max - 2] + [last] for one in found]


def padded(lists):
    """Lists of ids -> ids (B, N) with 0 behind, mask (B, N)."""
    longest = max(map(len, lists))
    ids = torch.tensor([one + [0] * (longest - len(one)) for one in lists])
    length = torch.tensor([len(one) for one in lists])
    return ids, torch.arange(longest) < length[:, None]


def batches(lists, pieces=4096):
    """Numbers of texts of about one length, about `pieces` pieces at a time."""
    order = sorted(range(len(lists)), key=lambda i: len(lists[i]))
    batch = []
    for i in order:
        if batch and len(lists[i]) * (len(batch) + 1) > pieces:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


@torch.no_grad()
def embedded(model, lists):
    """Lists of ids -> embeddings (n, D) of float32."""
    out = np.zeros((len(lists), model.config.hidden_size), np.float32)
    for numbers in batches(lists):
        out[numbers] = model(*padded([lists[i] for i in numbers])).numpy()
    return out
