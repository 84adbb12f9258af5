"""GGUF files written by the Python package `gguf`, for src/engine/gguf*.c. Needs gguf and numpy (see README.md).

types.gguf         every metadata type, and one tensor of each block type this program reads, one it does not (Q2_K)
types.safetensors  what gguf's dequantize makes of them, and the values Q8_0 and Q4_0 were made from
llama_bias.gguf    ../model/llama_bias as llama.cpp's converter lays it out: names, q and k permuted, no
                   tokenizer.huggingface.json
Deterministic: a fixed seed."""
import json
import os
import struct

import gguf
import numpy as np
from gguf.quants import dequantize, quantize

HERE = os.path.dirname(os.path.abspath(__file__))
T = gguf.GGMLQuantizationType


def read_safetensors(path):
    raw = open(path, "rb").read()
    n = struct.unpack("<Q", raw[:8])[0]
    kinds = {"F32": np.float32, "F16": np.float16}
    return {k: np.frombuffer(raw[8 + n + v["data_offsets"][0]:8 + n + v["data_offsets"][1]],
                             kinds[v["dtype"]]).reshape(v["shape"])
            for k, v in json.loads(raw[8:8 + n]).items() if k != "__metadata__"}


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name, x in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(x.shape), "data_offsets": [len(data), len(data) + x.nbytes]}
        data += x.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    open(path, "wb").write(struct.pack("<Q", len(text)) + text + data)


def random_blocks(rng, kind, rows, n_blocks, scales):
    """Blocks of any bits, but for their f16 scales (at these offsets), which are small numbers."""
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = rng.integers(0, 256, (rows, n_blocks, size), dtype=np.uint8)
    for at in scales:
        d = (rng.standard_normal((rows, n_blocks, 1)) * 0.01).astype(np.float16)
        blocks[:, :, at:at + 2] = d.view(np.uint8)
    return blocks.reshape(rows, n_blocks * size)


def types():
    rng = np.random.default_rng(7)
    w = gguf.GGUFWriter(os.path.join(HERE, "types.gguf"), "llama")
    w.add_uint8("test.u8", 200)
    w.add_int8("test.i8", -100)
    w.add_uint16("test.u16", 60000)
    w.add_int16("test.i16", -30000)
    w.add_uint32("test.u32", 4000000000)
    w.add_int32("test.i32", -2000000000)
    w.add_uint64("test.u64", 1 << 40)
    w.add_int64("test.i64", -(1 << 40))
    w.add_float32("test.f32", 0.1)
    w.add_float64("test.f64", 0.1)
    w.add_bool("test.yes", True)
    w.add_bool("test.no", False)
    w.add_string("test.string", "métro ☔")
    w.add_string("test.empty", " ")
    w.add_array("test.strings", ["a", "", "ligne\n2", "été"])
    w.add_array("test.ints", [3, -1, 2])
    w.add_array("test.floats", [0.5, -2.25])
    w.add_array("test.bools", [True, False])
    w.add_array("test.nested", [[1, 2], [3]])
    out, source = {}, rng.standard_normal((4, 96)).astype(np.float32)
    source[1] *= 1e-4
    source[2, :32] = 0          # a block of zeros
    source[3, 40] = 37.0        # one that sticks out
    for kind in (T.F32, T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1):
        q = quantize(source, kind)
        raw = source if kind == T.F32 else q
        w.add_tensor(kind.name, raw, raw_dtype=kind)
        out[kind.name] = dequantize(q, kind).astype(np.float32).reshape(source.shape)
    for kind, scales in ((T.Q4_K, (0, 2)), (T.Q5_K, (0, 2)), (T.Q6_K, (208,)), (T.Q2_K, (80, 82))):
        raw = random_blocks(rng, kind, 3, 2, scales)
        w.add_tensor(kind.name, raw, raw_dtype=kind)
        out[kind.name] = dequantize(raw, kind).astype(np.float32).reshape(3, 512)
    out["source"] = source
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    write_safetensors(os.path.join(HERE, "types.safetensors"), out)


def permute(x, n_head):  # LlamaModel.permute of convert_hf_to_gguf.py
    return x.reshape(n_head, 2, x.shape[0] // n_head // 2, *x.shape[1:]).swapaxes(1, 2).reshape(x.shape)


def llama_bias():
    folder = os.path.join(HERE, "..", "model", "llama_bias")
    config = json.load(open(os.path.join(folder, "config.json")))
    tokenizer = json.load(open(os.path.join(folder, "tokenizer.json")))
    weights = read_safetensors(os.path.join(folder, "model.safetensors"))
    H, H_kv = config["num_attention_heads"], config["num_key_value_heads"]
    w = gguf.GGUFWriter(os.path.join(HERE, "llama_bias.gguf"), "llama")
    w.add_name("llama_bias")
    w.add_block_count(config["num_hidden_layers"])
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(config["hidden_size"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(H)
    w.add_head_count_kv(H_kv)
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    w.add_rope_dimension_count(config["head_dim"])
    w.add_file_type(1)
    tokens = [f"[PAD{i}]" for i in range(config["vocab_size"])]
    kinds = [gguf.TokenType.UNUSED] * len(tokens)
    for token, i in tokenizer["model"]["vocab"].items():
        tokens[i], kinds[i] = token, gguf.TokenType.NORMAL
    for t in tokenizer["added_tokens"]:
        tokens[t["id"]], kinds[t["id"]] = t["content"], gguf.TokenType.CONTROL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(kinds)
    w.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    w.add_bos_token_id(config["bos_token_id"])
    w.add_eos_token_id(config["eos_token_id"])
    w.add_add_bos_token(True)
    w.add_chat_template("{% for message in messages %}{{ bos_token }}{{ message['content'] }}{% endfor %}")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config["num_hidden_layers"])
    for name, x in weights.items():
        if name == "lm_head.weight":
            continue
        if ".q_proj." in name:
            x = permute(x, H)
        if ".k_proj." in name:
            x = permute(x, H_kv)
        x = x if x.ndim == 2 else x.astype(np.float32)
        w.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), np.ascontiguousarray(x))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    types()
    llama_bias()
