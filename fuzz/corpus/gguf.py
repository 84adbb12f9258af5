#!/usr/bin/env python3
"""gguf.py [FOLDER]: writes the starting inputs of fuzz_gguf (default: fuzz_gguf beside this file): each tensor type, each architecture
and `pre`, each rotary scaling, each metadata kind, and counts, lengths and alignments that a reader must refuse."""
import os
import struct
import sys

D = os.path.join(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fuzz_gguf'), '')
u32=lambda v:struct.pack('<I',v&0xffffffff); u64=lambda v:struct.pack('<Q',v)
s=lambda t:u64(len(t.encode()))+t.encode()
def kv(k,kind,b): return s(k)+u32(kind)+b
def arr(k,el,items): return kv(k,9,u32(el)+u64(len(items))+b''.join(items))
def f32(x): return struct.pack('<f',x)
def t(name,kind,dims,off): return s(name)+u32(len(dims))+b''.join(u64(d) for d in dims)+u32(kind)+u64(off)
def file(kvs,ts,data,version=3):
    b=b'GGUF'+u32(version)+u64(len(ts))+u64(len(kvs))+b''.join(kvs)+b''.join(ts)
    return b+b'\0'*(-len(b)%32)+data
def model(arch='llama',pre='gpt-2',extra=(),more=()):
    p=arch+'.'
    return [kv('general.architecture',8,s(arch)),kv(p+'block_count',4,u32(1)),kv(p+'embedding_length',4,u32(4)),kv(p+'feed_forward_length',4,u32(4)),
      kv(p+'attention.head_count',4,u32(1)),kv(p+'context_length',4,u32(64)),kv(p+'attention.layer_norm_rms_epsilon',6,f32(1e-5)),
      kv('tokenizer.ggml.model',8,s('gpt2')),kv('tokenizer.ggml.pre',8,s(pre)),
      arr('tokenizer.ggml.tokens',8,[s(x) for x in ['a','b','ab','<s>']]),arr('tokenizer.ggml.token_type',5,[u32(x) for x in [1,1,1,3]]),
      arr('tokenizer.ggml.merges',8,[s('a b')]),kv('tokenizer.ggml.bos_token_id',4,u32(3)),kv('tokenizer.ggml.eos_token_id',4,u32(3)),
      kv('tokenizer.ggml.add_bos_token',7,b'\1'),kv('tokenizer.chat_template',8,s('{{ bos_token }}x'))]+list(extra)
emb=[t('token_embd.weight',0,[4,4],0)]
cases={
 'empty':file([],[],b''),
 'v2':file([],[],b'',2),
 'model':file(model(),emb,b'\1'*64),
 'qwen2':file(model('qwen2','qwen2'),emb,b'\1'*64),
 'qwen3':file(model('qwen3','default'),emb,b'\1'*64),
 'llama_bpe':file(model(pre='llama-bpe'),emb,b'\1'*64),
 'smollm':file(model(pre='smollm'),emb,b'\1'*64),
 'linear':file(model(extra=[kv('llama.rope.scaling.type',8,s('linear')),kv('llama.rope.scaling.factor',6,f32(2))]),emb,b'\1'*64),
 'yarn':file(model(extra=[kv('llama.rope.scaling.type',8,s('yarn')),kv('llama.rope.scaling.factor',6,f32(2)),kv('llama.rope.scaling.original_context_length',4,u32(32))]),emb,b'\1'*64),
 'llama3':file(model(extra=[arr('sillon.rope.llama3',6,[f32(8),f32(1),f32(4),f32(64)])]),emb+[t('rope_freqs.weight',0,[2],64)],b'\1'*64+f32(1)+f32(8)),
 'json':file(model(extra=[kv('tokenizer.huggingface.json',8,s('{"version":"1.0","model":{"type":"BPE","vocab":{"a":0},"merges":[]}}'))]),emb,b'\1'*64),
 'eos_list':file(model(extra=[arr('sillon.eos_token_ids',5,[u32(2),u32(3)])]),emb,b'\1'*64),
 'layer':file(model(),emb+[t('blk.0.attn_q.weight',0,[4,4],64),t('blk.0.attn_q.bias',0,[4],128)],b'\1'*160),
 'spm':file([x if b'.model' not in x else kv('tokenizer.ggml.model',8,s('llama')) for x in model()],emb,b'\1'*64),
 'kinds':file([kv('k%d'%i,i,b'\1'*n) for i,n in enumerate([1,1,2,2,4,4,4,1])]+[kv('k10',10,u64(1<<63)),kv('k11',11,u64(2**64-1)),kv('k12',12,struct.pack('<d',0.5)),arr('n',9,[u32(5)+u64(2)+u64(7),u32(8)+u64(1)+s('x')])],[],b''),
 'alignment':file([kv('general.alignment',4,u32(64))],[t('w',0,[8],0)],b'\0'*96),
 'huge_count':b'GGUF'+u32(3)+u64(1<<62)+u64(1<<62),
 'huge_string':file([s('k')+u32(8)+u64(2**64-8)],[],b''),
 'huge_array':file([s('k')+u32(9)+u32(10)+u64(1<<61)],[],b''),
 'bad_utf8':file([kv('s',8,u64(2)+b'\xc3\x28')],[],b''),
}
blocks={'q4_0':(2,32,18),'q4_1':(3,32,20),'q5_0':(6,32,22),'q5_1':(7,32,24),'q8_0':(8,32,34),'q4_k':(12,256,144),'q5_k':(13,256,176),'q6_k':(14,256,210),'q2_k':(10,256,84),'f16':(1,4,8),'bf16':(30,4,8)}
for n,(k,v,b) in blocks.items(): cases['type_'+n]=file([],[t('w',k,[v,2],0)],bytes((i*37+n.__len__())%256 for i in range(2*b)))
for n,b in cases.items(): open(D+n,'wb').write(b)
