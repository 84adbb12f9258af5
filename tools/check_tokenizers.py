#!/usr/bin/env python3
"""Compares our tokenizer with Hugging Face `tokenizers` on mixed text, ids and decoded text.

  tools/check_tokenizers.py TEST_PROGRAM TOKENIZER_JSON... [--lines 10000] [--seed 1]

TEST_PROGRAM is the built tests/engine_test_tokenizer. Prints one line a tokenizer; exit 1 on a mismatch."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "tests", "engine", "ref", "tokenizer"))
from mixed_text import mixed_lines  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def compare(program, path, n_lines, seed):
    theirs = Tokenizer.from_file(path)
    theirs.no_truncation()
    theirs.no_padding()
    specials = sorted(t.content for t in theirs.get_added_tokens_decoder().values())
    lines = mixed_lines(n_lines, seed, specials)
    with tempfile.NamedTemporaryFile(suffix=".txt") as f:
        f.write(b"\n".join(line.replace(b"\n", b"\0") for line in lines) + b"\n")
        f.flush()
        out = subprocess.run([program, "--decode", path, f.name], capture_output=True, check=True).stdout.decode()
        plain = subprocess.run([program, "--encode-plain", path, f.name], capture_output=True, check=True).stdout.decode()
    rows, plain_rows = out.split("\n")[:-1], plain.split("\n")[:-1]
    if len(rows) != len(lines) or len(plain_rows) != len(lines):
        sys.exit(f"{path}: {len(rows)} rows for {len(lines)} lines")
    bad, n_tokens = 0, 0
    for line, row in zip(lines, rows):
        text = line.decode("utf-8", "replace")
        want = theirs.encode(text).ids
        ids, decoded = row.split("\t", 1)
        got = [int(i) for i in ids.split()]
        n_tokens += len(want)
        wrong_decode = got == want and json.loads(decoded) != theirs.decode(want)
        if got != want or wrong_decode:
            bad += 1
            if bad <= 5:
                print(f"  {text!r}\n    want {theirs.decode(want) if wrong_decode else [theirs.id_to_token(i) for i in want]!r}"
                      f"\n    got  {json.loads(decoded) if wrong_decode else [theirs.id_to_token(i) for i in got]!r}")
    theirs.encode_special_tokens = True
    for line, row in zip(lines, plain_rows):
        text = line.decode("utf-8", "replace")
        want = theirs.encode(text, add_special_tokens=False).ids
        if [int(i) for i in row.split()] != want:
            bad += 1
            if bad <= 5:
                print(f"  special tokens as data: {text!r}")
    print(f"{path}: {len(lines)} lines, {n_tokens} tokens, {bad} mismatches")
    return bad


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("program")
    p.add_argument("tokenizers", nargs="+")
    p.add_argument("--lines", type=int, default=10000)
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    sys.exit(1 if sum(compare(a.program, t, a.lines, a.seed) for t in a.tokenizers) else 0)


if __name__ == "__main__":
    main()
