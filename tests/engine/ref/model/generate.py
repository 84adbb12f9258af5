"""Reference vectors for src/engine from transformers: four tiny random models, their logits, a greedy continuation.

Needs torch, transformers, safetensors and tokenizers (see README.md). Writes NAME/ (a model folder), NAME/ref.safetensors
and rope.safetensors beside this file. Deterministic: fixed seeds, one thread, float32."""
import json
import os
import shutil

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

HERE = os.path.dirname(os.path.abspath(__file__))
V, N_PROMPT, N_GREEDY = 288, 40, 200
# Logits are kept at these rows of the prompt followed by its continuation.
ROWS = [0, 1, 2, 5, 11, 17, 23, 31, 38, 39, 40, 63, 64, 127, 200, 239]
SHAPE = dict(vocab_size=V, hidden_size=64, intermediate_size=88, num_attention_heads=4, max_position_embeddings=512,
             attention_dropout=0.0, bos_token_id=256, eos_token_id=257, pad_token_id=None)
LLAMA3 = dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=64)


def build(name):
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, num_key_value_heads=2, tie_word_embeddings=False,
                                            rope_parameters=LLAMA3, rms_norm_eps=1e-5, **SHAPE))
    if name == "llama_bias":
        return LlamaForCausalLM(LlamaConfig(num_hidden_layers=2, num_key_value_heads=1, tie_word_embeddings=True,
                                            attention_bias=True, mlp_bias=True, **SHAPE))
    if name == "qwen2":
        return Qwen2ForCausalLM(Qwen2Config(num_hidden_layers=2, num_key_value_heads=2, tie_word_embeddings=False,
                                            **SHAPE))
    return Qwen3ForCausalLM(Qwen3Config(num_hidden_layers=3, num_key_value_heads=2, head_dim=24,
                                        tie_word_embeddings=True, **SHAPE))


# How each folder stores its weights.
STORED = {"llama": (torch.float32, "160KB"), "llama_bias": (torch.float16, None), "qwen2": (torch.bfloat16, None),
          "qwen3": (torch.float32, None)}


def randomise(model, generator, dtype):
    """Weights large enough for the logits to differ, rounded to what the file will hold."""
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if "norm" in key:
                p.copy_(1 + 0.2 * noise)
            elif key.endswith("bias"):
                p.copy_(0.3 * noise)
            elif "embed" in key:
                p.copy_(0.5 * noise)
            else:
                p.copy_(1.3 * noise / p.shape[1] ** 0.5)
            p.copy_(p.to(dtype).float())


def greedy(model, prompt):
    """The continuation, with the narrowest lead of a chosen token over the second."""
    ids, past, margin, step = prompt.tolist(), None, float("inf"), prompt[None]
    with torch.no_grad():
        for _ in range(N_GREEDY):
            out = model(step, past_key_values=past, use_cache=True)
            past = out.past_key_values
            top = out.logits[0, -1].topk(2)
            margin = min(margin, (top.values[0] - top.values[1]).item())
            ids.append(top.indices[0].item())
            step = torch.tensor([[ids[-1]]])
    return torch.tensor(ids), margin


def make_tokenizer(path):
    """Byte-level BPE: the 256 bytes, two special tokens, a few merges."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet)}
    vocab["<|begin|>"], vocab["<|end|>"] = 256, 257
    merges = [("o", "n"), ("e", "s"), ("i", "t"), ("on", "t"), ("Ġ", "p"), ("Ġ", "l"), ("Ġl", "a"), ("Ġl", "e")]
    for a, b in merges:
        vocab[a + b] = len(vocab)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    t.add_special_tokens(["<|begin|>", "<|end|>"])
    t.save(path, pretty=False)


def write_folder(name, model, dtype, shard):
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    stored = model.to(dtype)
    stored.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))
    if os.path.exists(os.path.join(folder, "generation_config.json")):
        os.remove(os.path.join(folder, "generation_config.json"))
    make_tokenizer(os.path.join(folder, "tokenizer.json"))
    return folder


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, (dtype, shard) in STORED.items():
        model = build(name).eval()
        for seed in range(100):  # the first seed whose choices are never close: rounding must not decide
            generator = torch.Generator().manual_seed(seed)
            randomise(model, generator, dtype)
            prompt = torch.randint(0, V, (N_PROMPT,), generator=generator)
            ids, margin = greedy(model, prompt)
            if margin > 5e-3 and len(set(ids[N_PROMPT:].tolist())) > 20:
                break
        else:
            raise SystemExit(f"{name}: no seed keeps a margin")
        with torch.no_grad():
            logits = model(ids[None]).logits[0]
        ref = {"ids": ids.to(torch.int32), "rows": torch.tensor(ROWS, dtype=torch.int32),
               "logits": logits[ROWS].contiguous()}
        folder = write_folder(name, model, dtype, shard)
        save_file(ref, os.path.join(folder, "ref.safetensors"), metadata={"n_prompt": str(N_PROMPT)})
        print(f"{name}: seed {seed}, narrowest lead {margin:.4f}, {len(set(ids[N_PROMPT:].tolist()))} different tokens, "
              f"largest logit {logits.abs().max():.2f}, files {sorted(os.listdir(folder))}")
    # Rotary tables alone, for the scalings no folder here uses: inverse frequencies times the position, cos and sin.
    ropes = {"default": dict(rope_type="default", rope_theta=500000.0),
             "linear": dict(rope_type="linear", rope_theta=10000.0, factor=4.0),
             "llama3": dict(LLAMA3, rope_theta=500000.0, original_max_position_embeddings=8192, factor=32.0),
             "yarn": dict(rope_type="yarn", rope_theta=1000000.0, factor=4.0, original_max_position_embeddings=32768),
             "yarn_small": dict(rope_type="yarn", rope_theta=10000.0, factor=8.0, beta_fast=16.0, beta_slow=2.0,
                                attention_factor=0.75, original_max_position_embeddings=256)}
    positions = torch.tensor([0, 1, 2, 7, 100, 255, 1000])
    out, metadata = {"positions": positions.to(torch.int32)}, {}
    for name, parameters in ropes.items():
        config = LlamaConfig(hidden_size=64, num_attention_heads=2, head_dim=32, vocab_size=16, intermediate_size=64,
                             num_hidden_layers=1, max_position_embeddings=1024, rope_parameters=dict(parameters))
        if parameters["rope_type"] == "default":
            inv = 1.0 / (parameters["rope_theta"] ** (torch.arange(0, 32, 2).float() / 32))
            scale = 1.0
        else:
            inv, scale = ROPE_INIT_FUNCTIONS[parameters["rope_type"]](config, None)
        angles = positions[:, None].float() * inv[None]
        out[name + ".cos"], out[name + ".sin"] = (angles.cos() * scale), (angles.sin() * scale)
        metadata[name] = json.dumps({"model_type": "llama", "vocab_size": 16, "hidden_size": 64, "num_hidden_layers": 1,
                                     "num_attention_heads": 2, "intermediate_size": 64, "max_position_embeddings": 1024,
                                     "head_dim": 32, "rope_parameters": parameters})
    save_file(out, os.path.join(HERE, "rope.safetensors"), metadata=metadata)
    for folder, _, files in os.walk(HERE):  # safetensors makes its files private
        for file in files:
            if file.endswith(".safetensors"):
                os.chmod(os.path.join(folder, file), 0o644)


if __name__ == "__main__":
    main()
