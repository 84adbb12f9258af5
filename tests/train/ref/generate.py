"""Reference vectors for src/train from PyTorch: tiny random models, one gradient, one loss curve of 200 steps.

Needs torch and transformers (see README.md). Writes NAME/config.json and NAME/ref.safetensors beside this file.
"""
import json
import os

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, BATCHES = 200, 8
ADAMW = dict(lr=2e-3, betas=(0.9, 0.95), eps=1e-8)
WEIGHT_DECAY, CLIP = 0.1, 1.0
SHAPE = dict(vocab_size=61, hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=64,
             attention_dropout=0.0, initializer_range=0.08, bos_token_id=None, eos_token_id=None, pad_token_id=None)


def models():
    yield "qwen3", Qwen3ForCausalLM(Qwen3Config(num_attention_heads=4, num_key_value_heads=2, head_dim=10,
                                                tie_word_embeddings=True, **SHAPE))
    yield "llama", LlamaForCausalLM(LlamaConfig(num_attention_heads=3, num_key_value_heads=3, attention_bias=True,
                                                mlp_bias=True, tie_word_embeddings=False, **SHAPE))
    yield "qwen2", Qwen2ForCausalLM(Qwen2Config(num_attention_heads=4, num_key_value_heads=1,
                                                tie_word_embeddings=False, **SHAPE))


def make_batch(generator):
    """Documents of uneven length (one longer than a block of attention rows) with uneven weights, some 0."""
    docs = []
    for n in (7, 55, 1, 18, 2):
        tokens = torch.randint(0, SHAPE["vocab_size"], (n,), generator=generator)
        if n > 4:  # something to learn: each second token repeats the one before
            tokens[1::2] = tokens[0:-1:2]
        weights = torch.randint(0, 4, (n,), generator=generator).float() / 2
        docs.append((tokens, weights))
    return docs


def loss_of(model, docs):
    total, weight = 0.0, 0.0
    for tokens, weights in docs:
        if len(tokens) < 2:
            continue
        logits = model(tokens[None]).logits[0, :-1]
        ce = torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none")
        total = total + (ce * weights[1:]).sum()
        weight += weights[1:].sum().item()
    return total / weight


def main():
    torch.set_num_threads(1)
    for name, model in models():
        torch.manual_seed(7)
        generator = torch.Generator().manual_seed(11)
        with torch.no_grad():
            for key, p in model.named_parameters():
                noise = torch.randn(p.shape, generator=generator)
                p.copy_(1 + 0.1 * noise if "norm" in key else 0.08 * noise)
        batches = [make_batch(generator) for _ in range(BATCHES)]
        out = {"w." + k: p.detach().clone() for k, p in model.named_parameters()}
        model.train()
        loss = loss_of(model, batches[0])
        loss.backward()
        out.update({"g." + k: p.grad.detach().clone() for k, p in model.named_parameters()})
        decay = [p for k, p in model.named_parameters() if p.dim() == 2 and "embed_tokens" not in k]
        plain = [p for k, p in model.named_parameters() if p.dim() != 2 or "embed_tokens" in k]
        optimizer = torch.optim.AdamW([dict(params=decay, weight_decay=WEIGHT_DECAY),
                                       dict(params=plain, weight_decay=0.0)], **ADAMW)
        curve = []
        for step in range(STEPS):
            optimizer.zero_grad()
            loss = loss_of(model, batches[step % BATCHES])
            loss.backward()
            norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters())).item()
            if norm > CLIP:
                for p in model.parameters():
                    p.grad.mul_(CLIP / norm)
            optimizer.step()
            curve.append(loss.item())
        out["curve"] = torch.tensor(curve)
        out["tokens"] = torch.stack([torch.cat([t for t, _ in b]) for b in batches]).to(torch.int32)
        out["weights"] = torch.stack([torch.cat([w for _, w in b]) for b in batches])
        ends = torch.tensor([len(t) for t, _ in batches[0]]).cumsum(0)
        out["doc_begin"] = torch.cat([torch.zeros(1, dtype=torch.int64), ends]).to(torch.int32)
        folder = os.path.join(HERE, name)
        os.makedirs(folder, exist_ok=True)
        save_file(out, os.path.join(folder, "ref.safetensors"), metadata={"format": "pt"})
        with open(os.path.join(folder, "config.json"), "w") as f:
            json.dump(json.loads(model.config.to_json_string(use_diff=False)), f, indent=1, sort_keys=True)
            f.write("\n")
        print(name, sum(p.numel() for p in model.parameters()), "parameters, loss", curve[0], "->", curve[-1])


if __name__ == "__main__":
    main()
