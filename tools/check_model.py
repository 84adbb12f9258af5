#!/usr/bin/env python3
"""Compares our engine with transformers on a model folder: logits of a prompt, 200 greedy tokens.

  tools/check_model.py FOLDER --program BUILD/tests/engine_test_session [--prompt TEXT] [--greedy 200] [--bf16]

Needs torch (CPU is enough), transformers and safetensors. Both sides compute in float32. Prints the largest absolute
difference of a logit and how many greedy tokens are the same; exit 1 when it is 1e-3 or more, or a token differs.
Where the continuations part, the lead of transformers' choice over ours at that token is printed: a lead of the order of
the difference of logits is a tie decided by rounding."""
import argparse
import json
import os
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

PROMPT = ("Le métro de la ligne 13 est arrêté à Saint-Lazare depuis dix minutes. Une personne a fait un malaise sur le "
          "quai et les voyageurs attendent les secours. Explain what happened and what should be done next.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("--program", required=True)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--greedy", type=int, default=200)
    parser.add_argument("--bf16", action="store_true", help="keep our weights in bf16 (loose: prints, never fails)")
    parser.add_argument("--f64", action="store_true", help="also measure both sides against a float64 forward pass")
    args = parser.parse_args()
    ids = AutoTokenizer.from_pretrained(args.folder)(args.prompt)["input_ids"]
    with tempfile.TemporaryDirectory() as work:
        ids_path, out_path = os.path.join(work, "ids.json"), os.path.join(work, "out.safetensors")
        with open(ids_path, "w", encoding="ascii") as f:
            json.dump(ids, f)
        command = [args.program, "--compare", args.folder, ids_path, out_path, str(args.greedy)]
        subprocess.run(command + (["bf16"] if args.bf16 else []), check=True)
        ours = load_file(out_path)
    model = AutoModelForCausalLM.from_pretrained(args.folder, dtype=torch.float32, attn_implementation="eager").eval()
    theirs, past, lead = [], None, None
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0]
        step = torch.tensor([ids])
        for i in range(args.greedy):
            out = model(step, past_key_values=past, use_cache=True)
            past, row = out.past_key_values, out.logits[0, -1]
            theirs.append(row.argmax().item())
            if lead is None and theirs[-1] != ours["greedy"][i].item():
                lead = (row[theirs[-1]] - row[ours["greedy"][i].item()]).item()
            step = torch.tensor([[theirs[-1]]])
    worst = (ours["logits"] - logits).abs().max().item()
    same = next((i for i in range(args.greedy) if theirs[i] != ours["greedy"][i].item()), args.greedy)
    print(f"{args.folder}: prompt of {len(ids)} tokens, vocabulary {logits.shape[1]}, largest logit "
          f"{logits.abs().max().item():.2f}, max |difference| {worst:.3g}, greedy {same} of {args.greedy} tokens the same")
    if args.f64:  # which side is nearer the exact value? (memory: 8 bytes a weight)
        model = model.double()
        with torch.no_grad():
            exact = model(torch.tensor([ids])).logits[0]
        for who, x in (("ours", ours["logits"]), ("transformers f32", logits)):
            d = (x.double() - exact).abs()
            print(f"against float64, {who}: max {d.max().item():.3g}, mean {d.mean().item():.3g}")
    if lead is not None:
        print(f"they part at token {same}, where transformers' choice leads ours by {lead:.3g}")
    return 0 if args.bf16 or (worst < 1e-3 and same == args.greedy) else 1


if __name__ == "__main__":
    sys.exit(main())
