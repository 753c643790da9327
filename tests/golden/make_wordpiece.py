#!/usr/bin/env python3
"""Make the golden sets of the tokenizer with the reference.

usage: make_wordpiece.py VOCAB FOLDER      (pip install tokenizers==0.23.3)

Writes into FOLDER, the same bytes at every run of one Python (3.11 made the files here):

wordpiece.tsv         a text a line: the text, a tab, its ids in decimal with spaces
                      between (no special pieces).  In the text `\\\\` is a backslash and
                      `\\u{HEX}` a code point that would not print.  All of it is made
                      here, from a fixed seed, the vocabulary and ranges of Unicode.
wordpiece_points.tsv  every code point in three contexts: a page of 256 code points a
                      line, its number in hex, a tab, and in hex the FNV-1a hash (64
                      bits) of the words of all texts of the page: of each code point
                      c in order (surrogates left out) those of c, of "a" c "b" and of
                      CONTEXT with c in its places; each word's UTF-8 (byte 2 for one
                      of more than 100 characters), then byte 1.
"""
import random
import sys
import unicodedata

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

LINES = 24000
CONTEXT = "A\u0301\u1b44{}\u302e\u0334{}\u1baaB{}{}"

GREEK = "αβγδεζηθικλμνξοπρσςτυφχψωΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩάέήίόύώϊϋΐΰἀἁἂἃᾀᾁὰάῶῷᾳῼΌΏ"
TURKISH = "abcçdefgğhıijklmnoöprsştuüvyzABCÇDEFGĞHIİJKLMNOÖPRSŞTUÜVYZ"
ACCENTED = "àáâãäåāăąçćčďđèéêëēęěìíîïīłñńňòóôõöøōőœŕřśšșßťțùúûüūůűýÿźżžæðþÀÉÎÕÜÇÑŠŽŁØÅÆẞǅǈ"
CYRILLIC = "абвгдеёжзийклмнопрстуфхцчшщъыьэюяАБВГДЕЁЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯіїєґўѓќ"
EMOJI = ["😀", "❤️", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵", "1️⃣", "🧑🏿‍🚀", "☕", "™️", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "⚽️", "©", "🤷🏻‍♀️", "🫠"]
INVISIBLE = [chr(c) for c in (0x200B, 0x200C, 0x200D, 0x200E, 0x200F, 0x2060, 0xFEFF,
    0xAD, 0x202A, 0x202B, 0x202C, 0x202D, 0x202E, 0x2066, 0x2069, 0x61C, 0x180E, 0xFE0F,
    0xE0001, 0xE0041, 0xE007F, 0x600, 0x6DD, 0x70F, 0x8E2, 0x110BD, 0x110CD, 0x1BCA0, 0x13430)]
SPACES = [" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u2003", "\u2028", "\u2029", "\u3000",
    "\u1680", "\u202f", "\u205f", "\u0085", "\x0b", "\x0c", "\x1c", "\x1f"]
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¡¿«»‘’“”„…–—・、。「」！？（）：；؟،।॥៖§¶†‡•‰′″‹›⁂⸮\u166d\U000111c9"
# Marks that stay in a word and are put into canonical order.
KEPT_MARKS = [0x8D4, 0x8DB, 0x1B44, 0x1BAA, 0x1BF2, 0x1DFB, 0x302E, 0x302F, 0xA953, 0xA9C0,
    0x111C0, 0x11235, 0x1134D, 0x11442, 0x11446, 0x116B6, 0x11C3F, 0x1D165, 0x1D166, 0x1D16D,
    0x1D16E, 0x1D172, 0x1E000, 0x1E02A, 0x1E944, 0x1E94A]
# Marks younger than the reference's tables, or with other classes there.
YOUNG_MARKS = [0x898, 0x89F, 0x8CA, 0x8D3, 0x9FE, 0xC3C, 0xD3B, 0xEBA, 0x1715, 0x1734,
    0x1AC1, 0x1DF6, 0x1DFA, 0xA82C, 0x10EFD, 0x10F46, 0x11070, 0x11938, 0x1193E, 0x119E0,
    0x1E08F, 0x1E4EC, 0x16FF0]
BLOCKS = [(0x80, 0x24F), (0x250, 0x36F), (0x370, 0x52F), (0x530, 0x5FF), (0x600, 0x77F),
    (0x780, 0x8FF), (0x900, 0xD7F), (0xD80, 0xFFF), (0x1000, 0x139F), (0x1400, 0x18AF),
    (0x1900, 0x1CFF), (0x1D00, 0x1FFF), (0x2000, 0x23FF), (0x2400, 0x2BFF),
    (0x2C00, 0x2FDF), (0x2FF0, 0x33FF), (0xA000, 0xABFF), (0xF900, 0xFFFF),
    (0x10000, 0x10FFF), (0x11000, 0x11FFF), (0x12000, 0x16FFF), (0x1B000, 0x1CFFF),
    (0x1D000, 0x1D7FF), (0x1D800, 0x1F2FF), (0x1F300, 0x1FAFF), (0x2F800, 0x2FA1F)]


class Texts:
    """Kinds of text, each a method without arguments."""

    def __init__(self, vocabulary, seed):
        self.r = random.Random(seed)
        self.words = [w for w in vocabulary if w.isascii() and w.isalpha() and len(w) > 1]
        self.pieces = [w.removeprefix("##") for w in vocabulary if not w.startswith("[")]

    def times(self, low, high, make, glue=""):
        return glue.join(make() for _ in range(self.r.randint(low, high)))

    def pick(self, what):
        return self.r.choice(what)

    def word(self):
        w = self.pick(self.words)
        return self.pick([w, w, w, w.capitalize(), w.upper()])

    def sentence(self):
        def part():
            return self.word() + self.pick(["", "", "", "", ",", ";", ".", "!", "'s", "-" + self.word()])
        return self.times(3, 12, part, " ") + self.pick([".", "?", "!", ""])

    def letters(self, alphabet, low=1, high=10):
        return self.times(low, high, lambda: self.pick(alphabet))

    def accents(self):
        t = self.times(1, 8, lambda: self.letters(ACCENTED + "abcdefghijklmnopqrstuvwxyz"), " ")
        return unicodedata.normalize(self.pick(["NFC", "NFD", "NFKC"]), t)

    def accented_words(self):
        def one():
            w = self.word()
            i = self.r.randrange(len(w)) + 1
            return unicodedata.normalize(self.pick(["NFC", "NFD"]),
                w[:i] + chr(self.r.randrange(0x300, 0x370)) + w[i:])
        return self.times(1, 8, one, " ")

    def greek(self):
        return self.times(1, 8, lambda: self.letters(GREEK), self.pick([" ", " ", "·", "’"]))

    def turkish(self):
        return self.times(1, 8, lambda: self.letters(TURKISH) + self.pick(["", "I", "İ", "i̇", "ı", "'nin"]), " ")

    def cyrillic(self):
        return self.times(1, 8, lambda: self.letters(CYRILLIC), " ")

    def ideographs(self):
        def one():
            k = self.r.random()
            if k < .5:
                return chr(self.r.randrange(0x4E00, 0xA000))
            if k < .7:
                return chr(self.r.randrange(0x3040, 0x3100))
            if k < .8:
                return chr(self.pick([0x3400, 0x4DBF, 0x4DC0, 0x20000, 0x2A6DF, 0x2A6E0, 0x2A700,
                    0x2B81F, 0x2B820, 0x2B91F, 0x2B920, 0x2CEAF, 0x2CEB0, 0x30000, 0x31350,
                    0xF900, 0xFAD9, 0xFA0E, 0xFB00, 0x2F800, 0x2FA1D, 0x2FA20]))
            return self.pick(["、", "。", "ー", "々", "〆", "Ａ", "ﾊﾟ", "ガ", "か\u3099", self.word(), "7"])
        return self.times(1, 20, one)

    def hangul(self):
        def one():
            s = chr(self.r.randrange(0xAC00, 0xD7A4))
            return self.pick([s, s, unicodedata.normalize("NFD", s), chr(self.r.randrange(0x1100, 0x1200)),
                chr(self.r.randrange(0x3130, 0x3190))])
        return self.times(1, 6, lambda: self.times(1, 6, one), " ")

    def emoji(self):
        return self.times(1, 10, lambda: self.pick([self.word(), " ", "", self.pick(EMOJI),
            chr(self.r.randrange(0x1F300, 0x1FB00)), chr(self.r.randrange(0x2600, 0x27C0)),
            chr(self.r.randrange(0x1F1E6, 0x1F200)) * 2]))

    def controls(self):
        return self.times(1, 8, lambda: self.word() + self.pick(
            [chr(self.r.randrange(0x20)), "\x00", "\x7f", chr(self.r.randrange(0x80, 0xA0)), "\ufffd", "\ufffc"]))

    def spaces(self):
        return self.times(1, 8, lambda: self.word() + self.times(1, 3, lambda: self.pick(SPACES)))

    def invisible(self):
        def one():
            w = self.word()
            i = self.r.randrange(len(w) + 1)
            return w[:i] + self.pick(INVISIBLE) + w[i:]
        return self.times(1, 8, one, self.pick([" ", "", "\u200b"]))

    def marks(self):
        def one():
            return chr(self.pick([self.pick(KEPT_MARKS), self.pick(YOUNG_MARKS), self.pick(KEPT_MARKS),
                self.r.randrange(0x300, 0x370), 0xFB1E, 0x94D, 0x902, 0x34F, 0x20DD, 0x0, 0x200D]))
        return self.times(1, 5, lambda: self.pick(["", "a", "é", "漢", ".", " ", "한", "\U00011131"]) + self.times(0, 14, one))

    def rtl(self):
        def one():
            if self.r.random() < .5:
                return self.times(1, 8, lambda: chr(self.r.randrange(0x5D0, 0x5EB)) + self.pick(
                    ["", "", chr(self.r.randrange(0x591, 0x5C8))]))
            return self.times(1, 8, lambda: chr(self.r.randrange(0x620, 0x6D4)) + self.pick(
                ["", "", "\u0640", chr(self.r.randrange(0x64B, 0x660))]))
        return self.times(1, 6, one, self.pick([" ", " ", "\u200f ", "، ", "\u202e"]))

    def block(self):
        low, high = self.pick(BLOCKS)
        return self.times(1, 5, lambda: self.times(1, 6, lambda: chr(self.r.randint(low, high))), " ")

    def odd_points(self):
        def one():
            return chr(self.pick([self.r.randrange(0xE000, 0xF900), self.r.randrange(0xF0000, 0xFFFFE),
                self.r.randrange(0x100000, 0x10FFFE), self.r.randrange(0xFDD0, 0xFDF0), 0xFFFE, 0xFFFF,
                0x10FFFF, 0x378, 0x530, 0x2FE0, 0xE0080, 0xE0100, self.r.randrange(0x40000, 0xE0000)]))
        return self.times(1, 6, lambda: self.pick(["", self.word()]) + one() + self.pick(["", " "]))

    def any_points(self):
        def one():
            c = self.r.randrange(0x110000)
            return "x" if 0xD800 <= c < 0xE000 else chr(c)
        return self.times(1, 12, lambda: self.pick(["", "", "a", " "]) + one())

    def long_words(self):
        unit = self.pick([lambda: self.pick(["a", "b", "ing"]), lambda: self.pick(self.pieces),
            lambda: self.pick("éü" + GREEK), lambda: "\U00010330", lambda: self.pick(["ꙮ", "a\u0301"]),
            lambda: chr(self.r.randrange(0xAC00, 0xD7A4)), lambda: "a" + chr(self.pick(KEPT_MARKS)),
            lambda: "1"])
        want = self.pick([98, 99, 100, 100, 101, 101, 102, self.r.randrange(60, 140)])
        t = ""
        while len(t) < want:
            t += unit()
        return self.pick(["", self.word() + " "]) + t[:want] + self.pick(["", "", ".", " " + self.word()])

    def joined_pieces(self):
        return self.times(1, 6, lambda: self.times(2, 6, lambda: self.pick(self.pieces)), " ")

    def punctuation(self):
        return self.times(1, 10, lambda: self.pick([self.word(), " ", self.letters(PUNCTUATION, 1, 8),
            self.pick(PUNCTUATION) * self.r.randint(1, 6)]))

    def numbers(self):
        def one():
            n = self.r.randrange(10 ** self.r.randint(1, 12))
            return self.pick([str(n), f"{n:,}", f"{n / 1000:.3f}", f"-{n}", f"{n}%", f"${n}", f"0x{n:X}",
                f"{n:e}", f"{n % 24:02}:{n % 60:02}", f"{n % 2100}-{n % 13:02}-{n % 32:02}", f"{n}th",
                "½", "²", "Ⅻ", "٣٤", "१२", "１２", "①", "𝟘𝟙"])
        return self.times(1, 8, one, " ")

    def addresses(self):
        host = self.times(1, 3, lambda: self.pick(self.words), ".") + self.pick([".com", ".org", ".de", ".example"])
        path = self.times(0, 4, lambda: "/" + self.pick(self.words) + self.pick(["", "_", "-1", "%20x"]))
        return self.pick([f"https://{host}{path}?q={self.pick(self.words)}&n={self.r.randrange(999)}#top",
            f"{self.word()}.{self.word()}@{host}", f"ftp://{host}:{self.r.randrange(65536)}{path}",
            f"/usr{path}/{self.word()}.so.{self.r.randrange(9)}", f"C:\\{self.word()}\\{self.word()}.EXE",
            f"see {host}{path}, or {host}."])

    def code(self):
        a, b, c = self.word(), self.word(), self.word()
        return self.pick([f"for (int i = 0; i < {a}->n; i++)\n\t{b}[i] += {c}({a}, &i);",
            f"def {a}_{b}(self, *{c}):\n    return {{k: v for k, v in {c}}}", f"#include <{a}/{b}.h>",
            f"SELECT {a}, COUNT(*) FROM {b} WHERE {c} >= 1 -- {a}", f'{{"{a}": [1, 2.5e-3, null], "{b}": "{c}\\n"}}',
            f"<a href='{a}'>{b}&nbsp;{c}</a>", f"$ {a} --{b}={c} | grep -E '^[a-z]+$' > /dev/null 2>&1",
            f"{a}{b.capitalize()}{c.capitalize()}::{a.upper()}_{b.upper()}", f"x^2 + y_{{1}} = \\frac{{{a}}}{{2}}"])

    def special(self):
        return self.times(1, 6, lambda: self.pick(["[CLS]", "[SEP]", "[UNK]", "[MASK]", "[PAD]", "##ing", "##",
            "[unused1]", self.word(), "#" + self.word(), "[ MASK ]"]), self.pick([" ", ""]))

    def mixture(self):
        return self.times(2, 4, lambda: self.pick(KINDS)(self), self.pick(["", " "]))


KINDS = [Texts.sentence, Texts.accents, Texts.accented_words, Texts.greek, Texts.turkish, Texts.cyrillic,
    Texts.ideographs, Texts.hangul, Texts.emoji, Texts.controls, Texts.spaces, Texts.invisible, Texts.marks,
    Texts.rtl, Texts.block, Texts.odd_points, Texts.any_points, Texts.long_words, Texts.joined_pieces,
    Texts.punctuation, Texts.numbers, Texts.addresses, Texts.code, Texts.special]

FIXED = ["", " ", "\x00", "\u0301", "Hello, World!", "ΣΑΣ ΟΔΟΣ ς", "İstanbul DİYARBAKIR ı I", "STRASSE Straße ẞ",
    "naïve café Ångström Å Å", "ﬁne ﬂow ﬃ", "K Kelvin Ω Ohm", "a\u0300\u0323b", "Zürich—Genève", "don't",
    "ǅ ǈ ǋ ǲ", "\ufeffBOM", "a\u00adb", "한국어 한국어", "x\u226ey \u2260 ≮", ";\u037e`\u1fef", "𝐇𝐞𝐥𝐥𝐨", "①②③", "Ｆｕｌｌ",
    "a" * 100, "a" * 101, "é" * 100, "é" * 101, "e\u0301" * 100, "e\u0301" * 101, "a" * 100 + "\x00", "가" * 34, "가" * 50]


def escape(text):
    return "".join("\\\\" if c == "\\" else c if c.isprintable() else f"\\u{{{ord(c):X}}}" for c in text)


def fnv(state, data):
    for byte in data:
        state = (state ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return state


def words_of(tokenizer, text):
    words = tokenizer.pre_tokenizer.pre_tokenize_str(tokenizer.normalizer.normalize_str(text))
    return b"".join((b"\2" if len(w) > 100 else w.encode()) + b"\1" for w, _ in words)


def main():
    vocab, folder = sys.argv[1:]
    with open(vocab, encoding="utf-8") as f:
        pieces = f.read().split("\n")[:-1]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]",
        max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(clean_text=True, handle_chinese_chars=True,
        strip_accents=None, lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()

    texts = Texts(pieces, 20230814)
    lines = list(FIXED)
    while len(lines) < LINES:
        kind = Texts.mixture if len(lines) % 6 == 0 else KINDS[len(lines) % len(KINDS)]
        lines.append(kind(texts))
    with open(f"{folder}/wordpiece.tsv", "w", encoding="utf-8", newline="\n") as f:
        for text in lines:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            f.write(f"{escape(text)}\t{' '.join(map(str, ids))}\n")
    with open(f"{folder}/wordpiece_points.tsv", "w", encoding="ascii", newline="\n") as f:
        for page in range(0x1100):
            state = 0xCBF29CE484222325
            points = [c for c in range(page << 8, (page + 1) << 8) if not 0xD800 <= c < 0xE000]
            for c in map(chr, points):
                for text in (c, f"a{c}b", CONTEXT.format(c, c, c, c)):
                    state = fnv(state, words_of(tokenizer, text))
            if points:
                f.write(f"{page:x}\t{state:016x}\n")


main()
