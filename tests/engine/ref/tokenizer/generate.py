#!/usr/bin/env python3
"""Writes cases.json: small tokenizers of every supported kind, and the ids and text that Hugging Face
`tokenizers` gives for lines of mixed text.

  python3 generate.py PROGRAM     PROGRAM is the built engine_test_tokenizer; it trains one of the tokenizers"""
import json
import os
import random
import subprocess
import sys
import tempfile

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers as pre,
                        processors, trainers)

from mixed_text import mixed_lines

HERE = os.path.dirname(os.path.abspath(__file__))
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
LLAMA3 = QWEN.replace(r"\p{N}|", r"\p{N}{1,3}|")
GPT4O = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
BYTES = [f"<0x{i:02X}>" for i in range(256)]


def corpus():
    lines = [x.decode("utf-8", "replace") for x in mixed_lines(3000, 99)]
    return [x for x in lines if len(x) < 400]


def trained(normalizer=None, pretokenizer=None, decoder=None, post=None, vocab=420, alphabet=(), specials=(), **model):
    t = Tokenizer(models.BPE(**{k: v for k, v in model.items() if k != "byte_fallback"}))
    if normalizer is not None:
        t.normalizer = normalizer
    if pretokenizer is not None:
        t.pre_tokenizer = pretokenizer
    fallback = model.get("byte_fallback", False)
    limit = {"limit_alphabet": 60} if fallback or model.get("unk_token") else {}
    suffix = {k: model[k] for k in ("end_of_word_suffix", "continuing_subword_prefix") if k in model}
    trainer = trainers.BpeTrainer(vocab_size=vocab + (256 if fallback else 0), initial_alphabet=list(alphabet), show_progress=False,
                                  special_tokens=list(specials) + (BYTES if fallback else []), **limit, **suffix)
    t.train_from_iterator(corpus(), trainer)
    d = json.loads(t.to_str())
    if fallback:
        d["model"]["byte_fallback"] = True
        d["added_tokens"] = [a for a in d["added_tokens"] if a["content"] not in BYTES]
    t = Tokenizer.from_str(json.dumps(d))
    if decoder is not None:
        t.decoder = decoder
    if post is not None:
        t.post_processor = post
    return t


def tokenizers(program):
    alphabet = pre.ByteLevel.alphabet()
    byte_level = dict(alphabet=alphabet, decoder=decoders.ByteLevel())
    seq = lambda *x: pre.Sequence(list(x))
    split = lambda p, b="isolated", invert=False: pre.Split(Regex(p), b, invert)
    raw = pre.ByteLevel(add_prefix_space=False, use_regex=False)
    llama_decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    yield "gpt2", trained(pretokenizer=pre.ByteLevel(add_prefix_space=True), post=processors.ByteLevel(trim_offsets=True), **byte_level)
    t = trained(normalizers.NFC(), seq(split(QWEN), raw), specials=["<|im_start|>"], **byte_level)
    t.add_special_tokens([AddedToken("<|im_end|>", lstrip=True, rstrip=True), AddedToken("<|im", normalized=False)])
    t.add_tokens([AddedToken("métro", single_word=True), AddedToken("tra", lstrip=True), AddedToken("  ", normalized=False, rstrip=True), AddedToken("e\u0301te\u0301")])
    yield "qwen", t
    bos = processors.TemplateProcessing(single="<s> $A </s>", pair="<s> $A <s> $B", special_tokens=[("<s>", 1), ("</s>", 2)])
    yield "llama2", trained(normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None, llama_decoder, bos,
                            specials=["<unk>", "<s>", "</s>"], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    yield "mistral", trained(None, pre.Metaspace("▁", "first", False), decoders.Sequence([decoders.Metaspace("▁", "first"), decoders.ByteFallback()]),
                             bos, specials=["<unk>", "<s>", "</s>"], unk_token="<unk>", byte_fallback=True)
    yield "metaspace", trained(normalizers.NFKC(), pre.Metaspace("▁", "always", True), decoders.Metaspace("▁", "always"),
                               specials=["<unk>"], unk_token="<unk>", fuse_unk=True)
    yield "metaspace_never", trained(normalizers.NFKD(), pre.Metaspace("_", "never", True), decoders.Metaspace("_", "never"), specials=["<unk>"], unk_token="<unk>")
    yield "falcon", trained(None, seq(pre.Punctuation("contiguous"), pre.ByteLevel(add_prefix_space=False), pre.Digits(False), split("[0-9][0-9][0-9]")), **byte_level)
    yield "smollm", trained(None, seq(pre.Digits(True), pre.ByteLevel(add_prefix_space=False)), **byte_level)
    t = Tokenizer.from_str(trained(normalizers.NFC(), seq(split(LLAMA3), raw), post=processors.Sequence([processors.ByteLevel(), processors.TemplateProcessing(
        single="<b> $A", pair="<b> $A $B", special_tokens=[("<b>", 0)])]), specials=["<b>"], **byte_level).to_str())
    d = json.loads(t.to_str())
    d["model"]["ignore_merges"] = True
    d["model"]["vocab"]["Ġaujourd"] = len(d["model"]["vocab"])
    yield "llama3", Tokenizer.from_str(json.dumps(d))
    yield "gpt4o", trained(None, seq(split(GPT4O, "removed", True), raw), **byte_level)
    yield "bert_like", trained(normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip()]),
                               pre.BertPreTokenizer(), decoders.BPEDecoder("</w>"), specials=["[UNK]"], unk_token="[UNK]", end_of_word_suffix="</w>")
    t = trained(normalizers.Sequence([normalizers.Nmt(), normalizers.Lowercase()]), pre.Whitespace(), None, specials=["[UNK]"], unk_token="[UNK]", continuing_subword_prefix="##")
    t.add_tokens([AddedToken("GARE", single_word=True), AddedToken("Bus", lstrip=True, rstrip=True)])
    yield "whitespace", t
    yield "whitespace_split", trained(normalizers.Replace(Regex(r"\d+"), "0"), seq(pre.WhitespaceSplit(), pre.CharDelimiterSplit("e")), decoders.Fuse(),
                                      processors.RobertaProcessing(("</s>", 2), ("<s>", 1)), specials=["<unk>", "<s>", "</s>"], unk_token="<unk>")
    yield "normalizer_bytes", trained(normalizers.Sequence([normalizers.Strip(True, False), normalizers.ByteLevel()]), split(r"Ġ?[a-z]+|\s"), **byte_level)
    for behavior in ("merged_with_previous", "merged_with_next", "contiguous", "removed"):
        yield behavior, trained(None, split(r"[\s'’.,!?]|\bl[ea]\b"), decoders.Fuse(), vocab=300, specials=["?"], unk_token="?") if behavior == "x" else \
            trained(None, seq(split(r"[\s'’.,!?]|\bl[ea]\b", behavior), raw), vocab=300, **byte_level)
        if behavior != "removed":
            yield behavior + "_inverted", trained(None, seq(pre.Split("e", behavior, True), raw), vocab=300, **byte_level)
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "tokenizer.json")
        subprocess.run([program, "--train", out, "600", os.path.join(HERE, "corpus.txt")], check=True)
        yield "ours", Tokenizer.from_file(out)


def main():
    random.seed(5)
    with open(os.path.join(HERE, "corpus.txt"), "w", encoding="utf-8", newline="") as f:
        f.write("\n".join(random.sample(corpus(), 150)) + "\n<|im_start|>user\n<|im_end|>\n")
    with open(os.path.join(HERE, "cases.json"), "w", encoding="utf-8") as f:
        f.write("[\n")
        for n, (name, t) in enumerate(tokenizers(sys.argv[1])):
            specials = sorted(a.content for a in t.get_added_tokens_decoder().values())
            lines = mixed_lines(60, 1000 + n, specials)[:9] + mixed_lines(60, 1000 + n, specials)[10:]
            lines = [x for x in lines if len(x) < 200][:45]
            rows = []
            for line in lines:
                text = line.decode("utf-8", "replace")
                t.encode_special_tokens = False
                ids = t.encode(text).ids
                decoded = t.decode(ids)
                t.encode_special_tokens = True
                plain = t.encode(text, add_special_tokens=False).ids
                given = text if text.encode() == line else {"hex": line.hex()}
                rows.append([given, ids, decoded] + ([plain] if plain != ids else []))
            t.encode_special_tokens = False
            d = json.loads(t.to_str())
            f.write((",\n" if n else "") + json.dumps({"name": name, "tokenizer": d}, ensure_ascii=False, separators=(",", ":"))[:-1] + ',"lines":[\n')
            f.write(",\n".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")) for r in rows) + "\n]}")
        f.write("\n]\n")


if __name__ == "__main__":
    main()
