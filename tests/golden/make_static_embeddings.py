"""Make static_embeddings.jsonl: texts and their embeddings by models/static.

    python3 tests/golden/make_static_embeddings.py > tests/golden/static_embeddings.jsonl

Needs numpy, scipy, safetensors and tokenizers.  The model is read as it is
stored, int8 rows and float32 scales; the texts are written here or drawn, by a
fixed seed, from the model's own vocabulary.  The sum is taken in float64, so
that what a float32 engine differs by is its own rounding.
"""
import json
import random
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/static"

PLAIN = """how do vaccines train the immune system
What is the boiling point of water at high altitude?
symptoms of iron deficiency in adults
fastest way to sort a million integers
Effect of slipstream on the lift distribution of a wing
information retrieval with binary codes
who wrote the first computer program
A man is playing a guitar on stage.
Someone plays an instrument in front of an audience.
The cat sat on the mat.
the mat sat on the cat
THE CAT SAT ON THE MAT
time-sharing operating systems for small machines
microwave measurement of the dielectric constant of liquids
glucose and free fatty acids in fetal plasma
p53 mutations and tumour suppression in mice
BRCA1/BRCA2 carriers have a 45-65% lifetime risk
0-dimensional biomaterials show inductive properties.
TCP congestion control over lossy wireless links
the history of the Dewey Decimal Classification
postgres vs. mysql: which one is faster for analytics?
a database that keeps its indexes in memory
tool to compress files without losing data
web server written in C with few dependencies
library for reading and writing PNG images
command line client for e-mail
fonts for mathematical typesetting
play chess against the computer
screen reader for blind users
convert video from one format to another
I can't believe it's not butter!
don't stop; won't stop -- can't stop...
e.g. i.e. etc. Ph.D. U.S.A. Ltd.
3.14159 2,718,281 6.022e23 -273.15 1/137 0x1F 50% $19.99
https://example.org/a/b?c=d&e=f#g
user.name+tag@example.com
C++ C# F# .NET Node.js objective-c
/usr/share/doc/README.gz ~/.bashrc *.tar.xz
#include <stdio.h> int main(void) { return 0; }
SELECT id, name FROM users WHERE age >= 21 ORDER BY name;
f(x) = x^2 + 3x - 7, so f'(x) = 2x + 3
AaBbCcDdEeFf camelCase snake_case kebab-case SCREAMING_CASE
antidisestablishmentarianism
pneumonoultramicroscopicsilicovolcanoconiosis
supercalifragilisticexpialidocious superheterodyne electroencephalography
a
the
I
halftone
embedding embedding embedding embedding
embedding
the the the the the the the
zebra
unaffable
To be, or not to be, that is the question.
Call me Ishmael. Some years ago, never mind how long precisely, I thought I would sail about a little.
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.
We the People of the United States, in Order to form a more perfect Union
All happy families are alike; each unhappy family is unhappy in its own way.
Four score and seven years ago our fathers brought forth a new nation."""

FOREIGN = """Café crème, naïve façade, déjà vu, piñata, jalapeño
CAFÉ CRÈME NAÏVE FAÇADE
Cafe\u0301 cre\u0300me with combining accents
Zürich Köln Malmö Ærø Łódź Đà Nẵng Győr
Straße STRASSE straße ẞ ß
İstanbul Iğdır ısı I i
Ελληνικά γράμματα ΑΒΓΔ ς σ Σ
Русский текст и ЗАГЛАВНЫЕ буквы ё Ё й
Українська мова ґ є і ї
עברית שָׁלוֹם עולם
اللغة العربية مُحَمَّد ١٢٣
हिन्दी भाषा नमस्ते दुनिया
தமிழ் மொழி
ภาษาไทยสวัสดี
Tiếng Việt có dấu thanh điệu
日本語の文章です。カタカナとひらがな
東京 京都 大阪
中文分词测试
中文English混合text测试123
한국어 문장 안녕하세요
한글 자모 \u1112\u1161\u11ab
ｆｕｌｌｗｉｄｔｈ　ｌａｔｉｎ　１２３
ﬁne ﬂow ﬀ ligatures ½ ² ³ № ™ ℃ Ⅳ
𝒞𝓊𝓇𝓈𝒾𝓋ℯ 𝔉𝔯𝔞𝔨𝔱𝔲𝔯 𝟙𝟚𝟛
𠀀𠀁 rare ideographs 𪚥
ᚠᚢᚦᚨᚱᚲ runes
Ꭰ Ꭱ ᏣᎳᎩ cherokee
ꙮ ⸘ ‽ ⁂
x² + y² = r², ∫₀^∞ e^{-x} dx = 1, ∀ε>0 ∃δ
α-synuclein, β-catenin, TNF-α and µ-opioid
“curly quotes” ‘single’ «guillemets» „low“ – en — em … ellipsis
price: €5, £3, ¥200, ₹50, ₿1, ¢99"""

EMOJI = """I love pizza 🍕🍕🍕
👍
👨‍👩‍👧‍👦 family
🇩🇪🇫🇷 flags
good morning ☀️ and good night 🌙
✈️ ❤️ ✔️ ☺
thumbs 👍🏽 with skin tone"""

ODD = [
    "", " ", "   \t \n ", ".", "...", "!?", "-", "_", "'", "\"", "()", "[]{}<>", "@#$%^&*",
    ", , ,", "—", "\u00a0", "\u200b", "\u00ad", "a\u200bb zero width", "soft\u00adhyphen",
    "tab\tand\nnew line\r\nand carriage return", "\u2028line\u2029paragraph separators",
    "control \x01\x02\x1b[31m characters \x7f", "\ufffd replacement \ufffd",
    "\ufeffbyte order mark", "private use \ue000\uf8ff", "\U0010ffff", "\u0301alone accent",
    "e\u0301\u0302\u0303\u0304\u0305", "~~~~~~~~~~~~~~~~", "=================", "1", "12345678901234567890",
    "x" * 99, "x" * 100, "x" * 101, "ab" * 60 + " fits not, but this does",
    "[CLS]", "[SEP] text [SEP]", "[MASK] is a piece", "[UNK]", "[PAD] [PAD]", "[cls] in lower case",
    "[unused1] [unused99]", "##ing ##s", "hello##world", "\u3000ideographic\u3000space",
    "ＡＢＣ", "ǅ ǈ ǋ titlecase digraphs", "ŉ ǰ ΐ expand when cased", "K Å Ω kelvin angstrom ohm signs",
]


def words(vocabulary, rng, n):
    whole = [w for w in vocabulary if w.isascii() and w.isalpha()]
    return " ".join(rng.choice(whole) for _ in range(n))


def texts():
    rng = random.Random(42)
    vocabulary = (MODEL / "vocab.txt").read_text(encoding="utf-8").splitlines()
    yield from PLAIN.splitlines()
    yield from FOREIGN.splitlines()
    yield from EMOJI.splitlines()
    yield from ODD
    for n in (2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 510, 511, 512, 513, 600, 1500):
        yield words(vocabulary, rng, n)
    for _ in range(20):
        yield " ".join(rng.choice(vocabulary) for _ in range(rng.randint(1, 40)))
    yield "The long road. " * 400
    yield "東京" * 300
    yield "word " * 511 + "last edge over"


def main():
    config = json.loads((MODEL / "config.json").read_text())
    stored = load_file(MODEL / "model.safetensors")
    rows, scale = stored["embedding.weight"], stored["embedding.scale"]
    # Without special pieces: "[SEP]" in a text is only text.
    pieces = Tokenizer(models.WordPiece.from_file(str(MODEL / "vocab.txt"), unk_token="[UNK]"))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=config["do_lower_case"])
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    for text in texts():
        ids = pieces.encode(text, add_special_tokens=False).ids[:config["max_position_embeddings"]]
        total = scale[ids].astype(np.float64) @ rows[ids].astype(np.float64)
        length = np.linalg.norm(total)
        vector = total / length if length > 0 else total
        json.dump({"text": text, "embedding": [float(f"{x:.7g}") for x in vector]}, sys.stdout)
        sys.stdout.write("\n")


if __name__ == "__main__":
    main()
