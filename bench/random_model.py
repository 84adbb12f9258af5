#!/usr/bin/env python3
"""random_model.py OUT [SHAPE]: a model folder of random bf16 weights (normal, 1 / sqrt(columns)) for speed only; SHAPE: qwen3-0.6b (default),
smollm2-135m, sillon-100m. The tokenizer is that of models/default: it uses the first ids. Needs numpy."""
import json
import os
import shutil
import struct
import sys

import numpy

SHAPES = {  # V, C, L, H, H_kv, D, F, family
    "qwen3-0.6b": (151936, 1024, 28, 16, 8, 128, 3072, "qwen3"),
    "smollm2-135m": (49152, 576, 30, 9, 3, 64, 1536, "llama"),
    "sillon-100m": (32768, 640, 12, 10, 10, 64, 1920, "qwen3"),
}


def main():
    if len(sys.argv) not in (2, 3) or (len(sys.argv) == 3 and sys.argv[2] not in SHAPES):
        print(__doc__, file=sys.stderr)
        return 2
    out, shape = sys.argv[1], sys.argv[2] if len(sys.argv) == 3 else "qwen3-0.6b"
    V, C, L, H, H_kv, D, F, family = SHAPES[shape]
    os.makedirs(out, exist_ok=True)
    tensors = [("model.embed_tokens.weight", [V, C]), ("model.norm.weight", [C])]
    for i in range(L):
        p = f"model.layers.{i}."
        tensors += [(p + "input_layernorm.weight", [C]), (p + "post_attention_layernorm.weight", [C]),
                    (p + "self_attn.q_proj.weight", [H * D, C]), (p + "self_attn.k_proj.weight", [H_kv * D, C]),
                    (p + "self_attn.v_proj.weight", [H_kv * D, C]), (p + "self_attn.o_proj.weight", [C, H * D]),
                    (p + "mlp.gate_proj.weight", [F, C]), (p + "mlp.up_proj.weight", [F, C]),
                    (p + "mlp.down_proj.weight", [C, F])]
        if family == "qwen3":
            tensors += [(p + "self_attn.q_norm.weight", [D]), (p + "self_attn.k_norm.weight", [D])]
    header, at = {}, 0
    for name, dims in tensors:
        n = 2 * int(numpy.prod(dims))
        header[name] = {"dtype": "BF16", "shape": dims, "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    random = numpy.random.default_rng(1)
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, dims in tensors:
            x = numpy.ones(dims, numpy.float32) if len(dims) == 1 else random.standard_normal(dims, numpy.float32)
            if len(dims) == 2: x *= 1 / dims[1] ** 0.5
            f.write((x.view(numpy.uint32) >> 16).astype(numpy.uint16).tobytes())
    config = {"architectures": ["Qwen3ForCausalLM" if family == "qwen3" else "LlamaForCausalLM"], "model_type": family,
              "vocab_size": V, "hidden_size": C, "num_hidden_layers": L, "num_attention_heads": H,
              "num_key_value_heads": H_kv, "head_dim": D, "intermediate_size": F, "max_position_embeddings": 4096,
              "rms_norm_eps": 1e-6, "rope_theta": 1e6, "tie_word_embeddings": True, "hidden_act": "silu",
              "torch_dtype": "bfloat16"}
    with open(os.path.join(out, "config.json"), "w") as f: json.dump(config, f, indent=1)
    here = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "models", "default")
    for name in ("tokenizer.json", "tokenizer_config.json"): shutil.copy(os.path.join(here, name), out)
    print(f"{out}: {shape}, {at / 2e6:.1f} M weights, {at / 1e9:.2f} GB")
    return 0


sys.exit(main())
