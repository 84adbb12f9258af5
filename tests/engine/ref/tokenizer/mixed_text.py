"""Lines of mixed text for comparing tokenizers: a seeded generator, shared by generate.py and
tools/check_tokenizers.py. Lines are bytes; some are not UTF-8, which readers replace by U+FFFD."""
import random
import unicodedata

WORDS = """le la les un une de du des au aux train métro bus tram retard arrêt quai correspondance
ligne station gare voyageur passager malaise fumée panne ascenseur escalator j'ai l'homme qu'il n'est
aujourd'hui c'est d'un s'il vous plaît où être été déjà très près cœur œuvre garçon naïf Noël ça À É Ô
bonjour merci urgent aide secours police Châtelet Gare-du-Nord Saint-Denis porte fermée colis suspect
the quick brown fox it's we're they'll I'd don't DON'T I'M You'Re state-of-the-art hello world
der die und straße größe ß ﬁn ﬂux ½ ² ³ № ℡ Ⅳ ① ㎏ Å Ω µ ſ K İ ı ĳ ǆ""".split()
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇫🇷", "🚇", "❤️", "☎️", "1️⃣", "🧑🏿‍🚒", "©", "™", "…", "—", "«", "»", "€", "’"]
SCRIPTS = ["地铁站台上有人晕倒", "電車が遅れています", "ひらがなとカタカナ", "한국어 텍스트", "مرحبا بكم في المحطة", "שלום עולם",
           "Привет, мир", "Γειά σου Κόσμε ΟΔΥΣΣΕΥΣ", "नमस्ते दुनिया", "สวัสดีชาวโลก", "xin chào thế giới", "əʊʃn", "ᏣᎳᎩ", "አማርኛ",
           "٠١٢٣٤", "०१२३", "１２３ＡＢＣ", "\u1100\u1161\u11a8", "\uac00\u11a8"]
CODE = ["if (x[i] != NULL) { return &a->b; }", "def f(x):\n\treturn x**2  # note", "<div class=\"a\">&nbsp;</div>",
        "SELECT * FROM t WHERE a='b';", "https://example.org/a?b=c&d=%20#e", "\\d+(?:\\.\\d+)?", "a_b__c---d", "$x->{'k'}[0]",
        "{\"id\": 1, \"t\": null}", "0x1F600 1e-9 3,14 1 000 000", "<0x41> <s> </s> <unk> ▁x ▁▁", "#!/bin/sh\r\n", "@user #tag"]
SPACES = [" ", "  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\n ", "\u00a0", "\u2003", "\u3000", "\u200b", "\u0085", "\u180e",
          "\ufeff", "\u202f", "\x0b", "\x0c", "\u2028", " " * 9, "\t\t", "\u200d", "\x7f", "\x1b"]
BAD = [b"\xff", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80", b"\x80\x80", b"\xe9t\xe9"]


def piece(r, specials):
    k = r.randrange(20)
    if k < 7:
        return " ".join(r.choice(WORDS) for _ in range(r.randrange(1, 6)))
    if k == 7:
        return r.choice(EMOJI) * r.randrange(1, 4)
    if k == 8:
        return r.choice(SCRIPTS)
    if k == 9:
        return r.choice(CODE)
    if k == 10:
        return str(r.randrange(10 ** r.randrange(1, 14)))
    if k == 11:
        return "".join(r.choice("!?.,;:'\"()[]{}<>/\\|@#$%^&*-_=+~`") for _ in range(r.randrange(1, 8)))
    if k == 12:
        return unicodedata.normalize("NFD", " ".join(r.choice(WORDS) for _ in range(3)))
    if k == 13:
        return "".join(chr(r.choice([0xE0, 0x300, 0x301, 0x323, 0x327, 0x61, 0x65, 0x41, 0x1EA4, 0x20])) for _ in range(8))
    if k == 14:
        return r.choice(WORDS).upper() + r.choice(WORDS).title()
    if k == 15:
        return "".join(chr(r.randrange(0x20, 0x2FFF)) for _ in range(4))
    if k == 16:
        return chr(r.randrange(0x10000, 0x1FFFF)) + chr(r.randrange(0x3000, 0xD7FF))
    if k == 17 and specials:
        return r.choice(specials)
    return r.choice(WORDS) + r.choice("'’") + r.choice(["s", "S", "t", "RE", "ll", "Ve", "x"])


def mixed_lines(n, seed=1, specials=()):
    """n lines of bytes. Only characters that Unicode 10 has (newer ones may differ by library version)."""
    r = random.Random(seed)
    lines = [b"", b" ", b"\n", b"a", "é".encode(), b"\xff", b"  ", b"\t\t\t", b"a" * 300, b" " * 300]
    while len(lines) < n:
        parts = []
        for _ in range(r.randrange(1, 9)):
            text = piece(r, specials)
            text = "".join(c for c in text if assigned(c))
            parts.append(text.encode())
            if r.randrange(40) == 0:
                parts.append(r.choice(BAD))
            if r.randrange(3):
                parts.append(r.choice(SPACES if r.randrange(3) == 0 else SPACES[:1]).encode())
        lines.append(b"".join(parts).replace(b"\0", b""))
    return lines[:n]


def assigned(c):
    return unicodedata.ucd_3_2_0.category(c) != "Cn" or (ord(c) > 0x1F000 and unicodedata.category(c) == "So"
                                                         and ord(c) < 0x1F9E7) or c in "".join(EMOJI)
