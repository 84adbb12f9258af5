#!/usr/bin/env python3
"""Writes data/gazetteer.tsv from the open data of Île-de-France Mobilités: make_gazetteer.py STATIONS.csv [OUT.tsv]

STATIONS.csv is `emplacement-des-gares-idf` (';' separated, with a BOM). One row a station name: name, normalised key,
line codes as the label guide writes them, latitude, longitude (mean over the station's rows)."""
import collections
import csv
import os
import re
import sys
import unicodedata


def key(name):
    plain = "".join(c for c in unicodedata.normalize("NFD", name.lower()) if not unicodedata.combining(c))
    plain = plain.replace("œ", "oe").replace("æ", "ae")
    return " ".join(re.sub(r"[^a-z0-9]+", " ", plain).split())


def code(res_com):
    kind, _, rest = res_com.partition(" ")
    if kind == "METRO": return "M" + rest
    if kind == "RER": return "RER " + rest
    if kind == "TRAM": return "T" + rest
    if kind == "TRAIN": return "Transilien " + rest
    return {"CDGVAL": "CDGVAL", "ORLYVAL": "Orlyval", "FUNICULAIRE MONTMARTRE": "Funiculaire"}.get(res_com)


def rank(line):
    kinds = ["M", "RER", "Transilien", "T"]
    kind = next((i for i, k in enumerate(kinds) if re.match(k + r"[ \d]", line)), 9)
    number = re.search(r"\d+", line)
    return kind, int(number.group()) if number else 0, line


def main():
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    out = sys.argv[2] if len(sys.argv) == 3 else os.path.join(os.path.dirname(__file__), "..", "data", "gazetteer.tsv")
    names, lines, points = {}, collections.defaultdict(set), collections.defaultdict(list)
    with open(sys.argv[1], encoding="utf-8-sig", newline="") as f:
        for row in csv.DictReader(f, delimiter=";"):
            line = code(row["res_com"])
            if line is None: continue  # main-line (GL) rows repeat stations listed under their regional lines
            k = key(row["nom_gares"])
            names.setdefault(k, row["nom_gares"].strip())
            lines[k].add(line)
            points[k].append(tuple(float(x) for x in row["geo_point_2d"].split(",")))
    with open(out, "w", encoding="utf-8") as f:
        f.write("# Source: Île-de-France Mobilités open data, \"emplacement-des-gares-idf\", "
                "made compact by tools/make_gazetteer.py. name, key, lines, lat, lon\n")
        for k in sorted(names):
            lat = sum(p[0] for p in points[k]) / len(points[k])
            lon = sum(p[1] for p in points[k]) / len(points[k])
            f.write(f"{names[k]}\t{k}\t{','.join(sorted(lines[k], key=rank))}\t{lat:.5f}\t{lon:.5f}\n")
    print(f"{len(names)} stations")
    return 0


sys.exit(main())
