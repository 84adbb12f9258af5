#!/usr/bin/env python3
"""make_fold.py OUT [SHARE]: a copy of data/seeds in OUT in which a share (default 0.2) of the given corpus's training messages, twins and
incidents whole, is called `dev`, and the real dev and ood are called `ood`. For choices between recipes:

  sillon forge messages --seeds OUT --split train --keep-personas ...     then tokens and train as tools/make-model does
  sillon eval --data OUT-fold.jsonl --model FOLDER --floor OUT/a01.jsonl ... --floor-split train
"""
import collections
import glob
import json
import os
import random
import shutil
import sys

if len(sys.argv) not in (2, 3):
    print(__doc__, file=sys.stderr)
    sys.exit(2)
root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "seeds")
out, share = sys.argv[1], float(sys.argv[2]) if len(sys.argv) == 3 else 0.2
shutil.rmtree(out, ignore_errors=True)
shutil.copytree(root, out)
rows = [l.split("\t")[:2] for l in open(os.path.join(root, "split.tsv"), encoding="utf-8").read().splitlines()]
split = dict(rows)
records = {}
for path in sorted(glob.glob(os.path.join(root, "*.jsonl"))):
    for line in open(path, encoding="utf-8"):
        record = json.loads(line)
        records[record["id"]] = record
parent = {i: i for i in records}


def find(x):
    while parent[x] != x: x = parent[x]
    return x


incidents = {}
for i, r in records.items():
    if r.get("twin") in records: parent[find(i)] = find(r["twin"])
    if r.get("incident"): parent[find(i)] = find(incidents.setdefault((i[:3], r["incident"]), i))
groups = collections.defaultdict(list)
for i in records:
    if split[i] == "train" and i[0] == "a": groups[find(i)].append(i)
keys = sorted(groups)
random.Random(11).shuffle(keys)
total, fold = sum(len(v) for v in groups.values()), set()
for k in keys:
    if len(fold) >= share * total: break
    fold.update(groups[k])
with open(os.path.join(out, "split.tsv"), "w", encoding="utf-8") as f:
    for i, s in rows: f.write(f"{i}\t{'dev' if i in fold else 'ood' if s == 'dev' else s}\n")
with open(out.rstrip("/") + "-fold.jsonl", "w", encoding="utf-8") as f:
    for i in sorted(fold): f.write(json.dumps(records[i], ensure_ascii=False) + "\n")
print(f"{out}: {len(fold)} of {total} messages in the fold")
