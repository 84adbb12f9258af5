#!/usr/bin/env python3
"""Imports compact seed files (w*.jsonl, v*.jsonl) into data/seeds/: import_seeds.py SOURCE_FOLDER [SEEDS_FOLDER]

A compact line is an array [n, urgency, class, source, channel, lang, distress, flags, place, evidence, for, against,
text, twin]. It becomes a record of the label guide (docs/labels.md) with id wNN-nnnn in the `train` split, or
vNN-nnnn in the `validation` split (calibration and choices between models; never trained on). A line of ten, [n, urgency,
class, source, channel, lang, distress, flags, text, twin], becomes a record with labels only: no place, evidence, for, against.
A row is dropped when it breaks the guide's codes, when an evidence span is not in the text, when its text repeats,
or when it is a near duplicate (character 5-gram Jaccard > 0.7) of a dev, ood or
validation text. Files of data/seeds with a name
that SOURCE_FOLDER has too are replaced, the other w* and v* stay."""
import collections
import glob
import json
import os
import re
import sys
import unicodedata

LEVELS = {"U0", "U1", "U2", "U3", "U4"}
CLASSES = set("person_on_tracks suicide_distress medical fire_smoke assault sexual_harassment weapon_threat crowd "
              "stuck_train heat_air suspicious_item lost_vulnerable fall_accident accessibility traffic service "
              "off_topic".split())
SOURCES = set("witness victim relative official_relay media_relay rumour commentary".split())
DISTRESS = set("fear confinement suffocation_pain despair separation abandonment shock anger".split())
FLAGS = set("hyperbole irony lyrics past official_relay media spam fiction_drill suicide_contempt homonym injection "
            "resolved".split())
CHANNELS = {"post", "chat", "mail", "sms", "app"}
PLACE = {"station", "line", "direction", "vehicle"}
LIMIT = 0.7


def grams(text):
    plain = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if not unicodedata.combining(c))
    plain = " ".join(re.sub(r"\W+", " ", plain).split())
    return {plain[i:i + 5] for i in range(max(1, len(plain) - 4))}


def whole(a):
    """A line of ten as one of fourteen, without evidence and sentences."""
    return a[:8] + [{}, [], "", ""] + a[8:] if isinstance(a, list) and len(a) == 10 else a


def problem(a, labels_only):
    if not isinstance(a, list) or len(a) != 14: return "not an array of 14 or 10"
    n, urgency, klass, source, channel, lang, distress, flags, place, evidence, why, against, text, twin = a
    if not isinstance(n, int) or not isinstance(text, str) or not text.strip(): return "no number or text"
    if urgency not in LEVELS: return f"urgency {urgency}"
    if klass not in CLASSES: return f"class {klass}"
    if source not in SOURCES: return f"source {source}"
    if channel not in CHANNELS: return f"channel {channel}"
    if not isinstance(distress, dict) or any(k not in DISTRESS or v not in (1, 2, 3) for k, v in distress.items()):
        return f"distress {distress}"
    if not isinstance(flags, list) or any(f not in FLAGS for f in flags): return f"flags {flags}"
    if not isinstance(place, dict) or any(k not in PLACE or not isinstance(v, str) for k, v in place.items()):
        return f"place {place}"
    if labels_only: return None
    if not isinstance(evidence, list) or not evidence or any(not e.strip() or e not in text for e in evidence):
        return "evidence is not in the text"
    if len(evidence) > 4: return "more than 4 evidence spans"
    if not isinstance(why, str) or not isinstance(against, str) or not why or not against: return "empty for/against"
    return None


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    source = sys.argv[1]
    out = sys.argv[2] if len(sys.argv) == 3 else os.path.join(os.path.dirname(__file__), "..", "data", "seeds")
    split = [l.rstrip("\n").split("\t")[:2] for l in open(os.path.join(out, "split.tsv"), encoding="utf-8")]
    files = sorted(glob.glob(os.path.join(source, "[wv]*.jsonl")),
                   key=lambda p: (os.path.basename(p)[0], int(re.sub(r"\D", "", os.path.basename(p)) or 0)))
    if not files:
        print(f"{source}: no w*.jsonl nor v*.jsonl there", file=sys.stderr)
        return 1
    names = {p: os.path.basename(p)[0] + "%02d" % int(re.sub(r"\D", "", os.path.basename(p)) or 0) for p in files}
    split = [(i, s) for i, s in split if i.split("-")[0] not in names.values()]
    of = dict(split)
    held, index, texts = [], collections.defaultdict(list), set()
    for path in sorted(glob.glob(os.path.join(out, "*.jsonl"))):
        if os.path.basename(path)[:-6] in names.values(): continue
        for line in open(path, encoding="utf-8"):
            r = json.loads(line)
            texts.add(r["text"])
            if of[r["id"]] != "train":
                g = grams(r["text"])
                for x in g: index[x].append(len(held))
                held.append((r["id"], g))
    dropped = collections.Counter()
    total = collections.Counter()
    for path in files:
        name = names[path]
        kept = {}
        for line_i, line in enumerate(open(path, encoding="utf-8"), 1):
            if not line.strip(): continue
            try: a = json.loads(line)
            except ValueError: a = None
            labels_only = isinstance(a, list) and len(a) == 10
            a = whole(a)
            why = problem(a, labels_only)
            if why is None and a[0] in kept: why = "number twice"
            if why is None and a[12] in texts: why = "text twice"
            if why is None:
                g, common = grams(a[12]), collections.Counter()
                for x in g: common.update(index.get(x, ()))
                for h, n in common.items():
                    if n / (len(g) + len(held[h][1]) - n) > LIMIT:
                        why = "near duplicate of a held-out text"
                        print(f"{path}:{line_i}: near {held[h][0]}: {a[12][:70]}", file=sys.stderr)
                        break
            if why is not None:
                dropped[why.split(" ")[0] if why.startswith(("urgency", "class", "flags")) else why] += 1
                continue
            texts.add(a[12])
            kept[a[0]] = a
        if name[0] == "v":  # held out as well: files are in order, v before w
            for n, a in kept.items():
                g = grams(a[12])
                for x in g: index[x].append(len(held))
                held.append((f"{name}-{n:04d}", g))
        with open(os.path.join(out, name + ".jsonl"), "w", encoding="utf-8") as f:
            for n, a in sorted(kept.items()):
                r = {"id": f"{name}-{n:04d}", "text": a[12], "lang": a[5], "channel": a[4], "urgency": a[1],
                     "class": a[2], "distress": a[6], "source": a[3], "flags": a[7], "place": a[8],
                     "evidence": [e.strip() for e in a[9]], "for": a[10], "against": a[11]}
                if not a[9]:
                    for key in ("place", "evidence", "for", "against"): del r[key]
                # A twin is a pair: both sides must say so, and both must be here.
                if a[13] is not None and a[13] in kept and kept[a[13]][13] == n: r["twin"] = f"{name}-{a[13]:04d}"
                f.write(json.dumps(r, ensure_ascii=False) + "\n")
                split.append((r["id"], "train" if name[0] == "w" else "validation"))
                total[a[1]] += 1
        print(f"{name}: {len(kept)} records from {os.path.basename(path)}")
    with open(os.path.join(out, "split.tsv"), "w", encoding="utf-8") as f:
        f.writelines(f"{i}\t{s}\n" for i, s in split)
    print(f"kept {sum(total.values())} {dict(sorted(total.items()))}; dropped {sum(dropped.values())} {dict(dropped)}")
    return 0


sys.exit(main())
