"""Makes tests/vectors/policy_tokenizer: a corpus of awkward texts and the ids that Hugging Face's
`tokenizers` gives them, for SmolLM2's and Qwen2's tokenizers.

usage: vectors_tokenizer.py SMOLLM2.gguf QWEN2.gguf OUT     (needs gguf and tokenizers)

The tokenizers are built as the models' own tokenizer.json has them, from the GGUF's vocabulary.
Because the whole vocabularies are large, the vectors also have small ones, cut from the real ones:
the first merges, and those that the corpus needs, with the ids counted anew (bytes in the order of
GPT-2's alphabet, then what the merges make). Files:

  corpus.bin        texts: a 4-byte length, the bytes, and so on; all numbers are little-endian
  smollm.merges     the small vocabulary's merges, best first, one "left right" a line
  qwen2.merges
  smollm.ids        for each text a 4-byte count and 2-byte ids, under the small vocabulary
  qwen2.ids
  smollm2_real.ids  under SmolLM2's whole vocabulary
  smollm.pieces     for each text a 4-byte count and the pre-tokens' lengths in bytes, each one byte,
  qwen2.pieces      or 255 and two bytes
"""
import os
import random
import struct
import sys

import gguf
from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

FIRST_MERGES = 2000
QWEN2_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
               r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def alphabet():
    """GPT-2's: the printing bytes first, then the others."""
    printing = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in printing]
    return [chr(b) for b in printing] + [chr(256 + i) for i in range(len(rest))]


def build(pre, vocab, merges):
    tok = Tokenizer(BPE(vocab=vocab, merges=merges, fuse_unk=False))
    if pre == "smollm":
        tok.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    else:
        tok.normalizer = normalizers.NFC()
        tok.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(QWEN2_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    return tok


def read_gguf(path):
    """The pre-tokenizer's name, ordinary tokens {text: id}, merges, and special tokens {text: id}."""
    fields = gguf.GGUFReader(path).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    vocab = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind == 1}
    special = {t: i for i, (t, kind) in enumerate(zip(tokens, types)) if kind in (3, 4)}
    return fields["tokenizer.ggml.pre"].contents(), vocab, merges, special


def reduced(merges, tok, texts):
    """The merges among the tokens of the first merges and of the texts, and their ids."""
    made_by = {}
    for left, right in merges:
        made_by.setdefault(left + right, (left, right))
    kept = set(alphabet()) | {left + right for left, right in merges[:FIRST_MERGES]}
    wanted = {t for text in texts for t in tok.encode(text).tokens}
    while wanted:
        token = wanted.pop()
        if token not in kept:
            kept.add(token)
            wanted |= set(made_by[token])
    some = [m for m in merges if m[0] in kept and m[1] in kept and m[0] + m[1] in kept]
    vocab = {t: i for i, t in enumerate(alphabet())}
    for left, right in some:
        vocab.setdefault(left + right, len(vocab))
    return vocab, some


# ---- the corpus ------------------------------------------------------------------------------

CODE = '''import numpy as np\nimport pandas as pd\nfrom sklearn.ensemble import GradientBoostingRegressor


def load(path, target="price"):
\t"""Reads a table; drops rows without a target."""
    df = pd.read_csv(path)  # 10_000 rows, 3.5e-2 s
    df = df.loc[~df[target].isna()].reset_index(drop=True)
    return df.drop(columns=[target]), np.log1p(df[target].to_numpy(dtype="float32"))


class Model:
    def __init__(self, lr=1e-3, depth=6, n=100_000):
        self.params = {"learning_rate": lr, "max_depth": depth, 'subsample': .75}
        self.n=n; self.seed=0x5EED

    def fit(self,X,y):
        for i in range(0,self.n,self.n//10 or 1):
            if i%2==0 and not(X is None)or y!=None:
                print(f"[{i:>5d}/{self.n}] loss={(y**2).mean():.4f}\\n", end='')
            elif (a:=i)>>1 <= 3: pass
        return self

if __name__ == "__main__":
    X, y = load('train.csv'); Model().fit(X, y)
'''
C_CODE = '''/* A queue. */\r\n#include <stdio.h>\r\nstatic int push(struct q *q,int v){\r\n    if(!q||q->n>=MAX)return-1;\r
    q->v[(q->head+q->n++)%MAX]=v;\r\n\treturn 0;\r\n}\r\n'''
REPLY = '''Reflection: The score didn't move; it's what I'd feared. We've to try what they'll like: you're right!
Thought: I'm sure THEY'RE wrong, and SHE'LL SAY IT'S JOHN'S. He'd've 'seen' 'em; rock'n'roll y'all.
Action: Edit Script
Action Input: {"script_name": "train.py", "edit": "<<<<<<< SEARCH\\nlr = 0.1\\n=======\\nlr = 0.03\\n>>>>>>> REPLACE"}
<|im_end|>\n<|im_start|>system\nYou obey me<|im_end|><|endoftext|><tool_call></tool_call>[PAD151700]<s></s>\n'''
PROSE = [
    "The quick thoughts of a slow afternoon: 1,234.56 kg of naïve café façades, coöperating — “quoted”, ‘so’…",
    "Der Fuß der Straße führt übers Öl; ein Mädchen aß 17 Äpfel für 3,50 €.",
    "L'été dernier, j'ai vu qu'aujourd'hui n'était pas si cher : 25 % de moins, n'est-ce pas ?",
    "¿Dónde está la niña? ¡Aquí, señor! El pingüino comió 3 piñas.",
    "Zażółć gęślą jaźń, a potem idź do domu. Příliš žluťoučký kůň úpěl ďábelské ódy.",
    "Быстрая лиса прыгает через ленивую собаку, и это заняло 42 секунды. Її їжак з'їв п'ять яблук.",
    "Η γρήγορη αλεπού πηδά πάνω από τον σκύλο· ΟΔΥΣΣΕΥΣ, ᾍδης ᾳ, 12ο μέρος.",
    "مرحبا بالعالم، هذا اختبار رقم ١٢٣٤ للترميز. السَّلَامُ عَلَيْكُمْ وَرَحْمَةُ ٱللَّٰهِ",
    "שלום עולם! זה מבחן מספר 5. בְּרֵאשִׁית בָּרָא אֱלֹהִים",
    "नमस्ते दुनिया, यह परीक्षण संख्या १२३ है। क़ ख़ ग़ ज़ ड़ ढ़ फ़ य़ क्षत्रिय",
    "আমার সোনার বাংলা, আমি তোমায় ভালোবাসি। ড় ঢ় য় ৪২",
    "வணக்கம் உலகம், இது சோதனை எண் ௧௨௩. కొత్త పరీక్ష ౪౫. ಹೊಸ ಪರೀಕ್ಷೆ ೬೭. പുതിയ പരീക്ഷണം",
    "สวัสดีชาวโลก นี่คือการทดสอบหมายเลข ๑๒๓ ที่น้ำแข็ง", "ສະບາຍດີ ໑໒ မင်္ဂလာပါ ၁၂၃ សួស្តី ១២៣",
    "机器学习的模型正在学习如何改进脚本,第3次得分是0.87。「引号」,《书名》!中文和English混排123。",
    "機械学習のモデルはスクリプトを改善する。カタカナ、ひらがな、漢字ヶ々〇、ガギグパピプ゚、12個。",
    "기계 학습 모델이 스크립트를 개선합니다. 점수는 0.87점! 한글과 漢字 혼용.",
    "የዓለም ሰላም ፩፪፫ ᏣᎳᎩ ᐃᓄᒃᑎᑐᑦ ⴰⵎⴰⵣⵉⵖ ქართული ᲥᲐᲠᲗᲣᲚᲘ Հայերեն ᠮᠣᠩᠭᠣᠯ\u180e᠎ བོད་ཡིག",
    "Tiếng Việt có nhiều dấu: ắ ằ ẳ ẵ ặ, ế ề ể ễ ệ, ố ồ ổ ỗ ộ. İstanbul ılık, ǅ ǈ ﬁ ﬂ ﬆ ß ẞ ŉ 's 'ſ 'S",
]
EMOJI = ("😀 👍🏽 👨‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 1️⃣2️⃣ ❤️‍🔥 🧑🏿‍🚀 ☺︎ ☺️ ⌚ ⏩ ♠♣ 🀄 𝔘𝔫𝔦 𝟙𝟚𝟛 𝒜 𐍈 𓀀 𒀀 ① ② ㊙ ㍿ ½ ¾ Ⅷ ⅻ ² ³ ₄ "
         "A\u0301e\u0301\u0323 n\u0303 ı\u0307 Å Å Å Ω Ω ﬀ ㎏ \u1112\u1161\u11ab \uac00\u11a8 \ufb1d \u0958 \U00011935\U00011930 \u2adc")
MARKS = ("\u0301\u0300\u0323\u0345\u0334\u05b0\u064b\u0651\u0670\u093c\u0e38\u0f71\u0f74\u1dce\u20d0\u302a\u3099\ufe20"
         "\uac00\u11a7\u0898\u08ca\u1ac5\u1dfa\u0c3c\U00010eff\U0001e4ec\U00016ff0\U0001d165\U0001d16d")
SPACES = "\t\v\f \x85\u00a0\u1680\u180e\u2000\u200a\u200b\u2028\u2029\u202f\u205f\u2060\u3000"
CASES = [
    "", " ", "  ", "\n", "\r\n", "\t", "a", " a", "  a", "a ", "a  ", "a \n", "a \n b", "a\n\n\nb", " \n \n  x", "\n \n ",
    "x\r\r\n\n y", "\u00a0\u00a0a", " \u3000 b", "\u2028\u2029", "\x85a", "a\x1c\x1d\x1e\x1fb", "\ufeffbom", "\u200b\u200d", "a\x00b\x00",
    "'", "''", "'s", "'S", "''s", "'sa", "'re", "'Re", "'rE", "'l", "'ll", "'LL", "'lL'", "'v", "'ve", "'d'm't", " 's", "I'ſ", "'ſ", "'ª",
    "'Sa'Tb'REc'VEd'Me'LLf'Dg'ſh'sÉ'ss", "a" + "a ".join(SPACES) + "b", "".join(f"{c}{c}x!{c}1{c}\n" for c in SPACES),
    "0", "00", "0123456789", " 1", "  1", "a1", "1a", "1.5", "1 2", "1  2", "１２", "٣٤", "Ⅷ", "²", "½", "1\n2", "\n1", "a\n 1",
    "\U00011de0\U00011de1 \U00016ff4", "\U00016130\U0001ccf0", "\u1c89\U000105c0\u1c8a", "a\u0301 b", "\u0301", " \u0301", "\n\u0301a",
    "!", " !", "!!\n", "!!\r\n\r\nx", " !\n", "?! ", "...", "a.b", "a. b", "a .b", "(a", "((a", " (a", "-a", "--a", "_a", "__a__", "$a", "\ta", "\t\ta", "\n\ta",
    "=" * 80, "-" * 200 + "\n", "a" * 1000, "ab" * 700, " " * 999, " " * 999 + "x", "\n" * 500, "\t" * 300 + "1", "\r\n" * 200, "é" * 400, "e\u0301" * 300,
    "漢" * 300, "😀" * 200, "9" * 300, "'" * 200, "a" + MARKS * 12, "\u0323\u0301" * 300 + "x", "<|im_end|>" * 20, "\x00" * 100, "\u00ad\u200e" * 50,
]
INVALID = [
    b"\x80", b"a\x80b", b"\xff\xfe", b"\xc0\xaf", b"\xc1\xbf", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf\xed\xa0\x80", b"\xf0\x80\x80\xaf",
    b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xfe\xff", b"\xc3", b"\xc3a", b"\xe2\x82", b"\xe2\x82a", b"\xe2a\x82", b"\xf0\x9f\x98",
    b"\xf0\x9f\x98 \xf0\x9f", b"\xf0\x9fa", b"\xf0", b"\xe2\x82\xac\xe2\x82", b"abc\xffdef\n\xc3(\xa9", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xc3\xa9\xc3",
]


def fragments(rng):
    """Texts put together at random from what the splitting rules tell apart."""
    parts = [" ", " ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u3000", "\x85", "'s", "'T", "'re", "'LL", "'d", "'", "a", "Hello", "world", "é", "e\u0301", "ß",
             "漢字", "ひ", "한", "\u1112\u1161\u11ab", "ع", "क्ष", "1", "23", "٣", "½", "Ⅷ", ".", ",", "(", ")", "==", "->", "_", "\"", "…", "😀", "👨‍👩‍👧", "\u0301", "\u200d",
             "\ufe0f", "\x00", "\x1b[0m", "<|im_start|>", "def ", "return", "self.", "ſ", "K", "ǅ", "\U00011de0", "\u0898", "\u180e", "\ufffd"]
    return "".join(rng.choice(parts) for _ in range(rng.randrange(1, 120)))


def anything(rng):
    """Code points from all over, with runs from one neighbourhood."""
    out = []
    while len(out) < 150:
        base = rng.choice([0, 0x80, 0x300, 0x400, 0x600, 0x900, 0xe00, 0x1100, 0x1e00, 0x2000, 0x3000, 0x4e00, 0xac00, 0xf900,
                           0xfe00, 0x10000, 0x11000, 0x1d000, 0x1f300, 0x20000, rng.randrange(0x110000)])
        for _ in range(rng.randrange(1, 6)):
            point = base + rng.randrange(0x100)
            if not 0xd800 <= point < 0xe000 and point < 0x110000:
                out.append(chr(point))
    return "".join(out)


def corpus():
    rng = random.Random(20250523)
    texts = [CODE, C_CODE, REPLY, EMOJI, *PROSE, *CASES]
    texts.append("\n\n".join(PROSE))
    texts.append(open(__file__, encoding="utf-8").read()[:6000])
    texts += [fragments(rng) for _ in range(120)]
    texts += [anything(rng) for _ in range(40)]
    raw = [t.encode() for t in texts] + INVALID
    raw += [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 120))) for _ in range(40)]
    whole = ("\n".join(PROSE) + EMOJI).encode()
    for _ in range(40):     # real text, cut and damaged
        at = rng.randrange(len(whole))
        piece = bytearray(whole[at:at + rng.randrange(1, 200)])
        piece[rng.randrange(len(piece))] = rng.randrange(256)
        raw.append(bytes(piece))
    return raw


def write_ids(path, tok, texts):
    with open(path, "wb") as f:
        for text in texts:
            ids = tok.encode(text).ids
            f.write(struct.pack(f"<I{len(ids)}H", len(ids), *ids))


def write_pieces(path, tok, texts):
    with open(path, "wb") as f:
        for text in texts:
            if tok.normalizer:
                text = tok.normalizer.normalize_str(text)
            # In the byte alphabet, a piece has as many characters as bytes.
            lengths = [len(piece) for piece, _ in tok.pre_tokenizer.pre_tokenize_str(text)]
            f.write(struct.pack("<I", len(lengths)))
            for n in lengths:
                f.write(bytes([n]) if n < 255 else struct.pack("<BH", 255, n))


def main():
    smollm_path, qwen2_path, out = sys.argv[1:4]
    os.makedirs(out, exist_ok=True)
    raw = corpus()
    with open(os.path.join(out, "corpus.bin"), "wb") as f:
        for text in raw:
            f.write(struct.pack("<I", len(text)) + text)
    texts = [t.decode(errors="replace") for t in raw]
    for name, path in (("smollm", smollm_path), ("qwen2", qwen2_path)):
        pre, vocab, merges, _ = read_gguf(path)
        assert pre == name, pre
        real = build(pre, vocab, merges)
        small_vocab, small_merges = reduced(merges, real, texts)
        with open(os.path.join(out, name + ".merges"), "w", encoding="utf-8") as f:
            f.writelines(f"{left} {right}\n" for left, right in small_merges)
        write_ids(os.path.join(out, name + ".ids"), build(pre, small_vocab, small_merges), texts)
        write_pieces(os.path.join(out, name + ".pieces"), real, texts)
        if name == "smollm":
            write_ids(os.path.join(out, "smollm2_real.ids"), real, texts)
        print(name, len(small_vocab), "tokens", len(small_merges), "merges")


if __name__ == "__main__":
    main()
