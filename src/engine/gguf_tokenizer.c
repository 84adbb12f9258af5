// engine/gguf_tokenizer.c - tokenizer.ggml.* <-> tokenizer.json. GGUF keeps a byte-level BPE's
// tokens, merges and kinds, and only the *name* of its pre-tokenizer (`pre`); the table below says
// which pattern each name stands for, from llama.cpp's src/llama-vocab.cpp and the tokenizer.json
// of the models the names come from. A name it does not hold is refused: never a silently different
// text.
#include "engine/gguf_model.h"

#include "core/json.h"
#include "core/utf8.h"
#include "engine/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { KIND_NORMAL = 1, KIND_UNKNOWN, KIND_CONTROL, KIND_USER_DEFINED, KIND_UNUSED, KIND_BYTE };

#define BYTE_LEVEL(regex)                                                                          \
    "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_"              \
    "regex\":" regex "}"
#define SPLIT(pattern)                                                                             \
    "{\"type\":\"Split\",\"pattern\":{\"Regex\":\"" pattern                                        \
    "\"},\"behavior\":\"Isolated\",\"invert\":false}"
#define SEQUENCE(members) "{\"type\":\"Sequence\",\"pretokenizers\":[" members "]}"
// JSON inside C: four backslashes are one of the pattern.
#define WORDS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+"
#define MARKS_AND_SPACES                                                                           \
    "| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define GPT2                                                                                       \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\\\p{L}+| ?\\\\p{N}+| "                                            \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+|\\\\s+(?!\\\\S)|\\\\s+"

static const struct pretokenizer_name {
    const char *name;       // of `pre`
    const char *json;       // its pre_tokenizer
    const char *normalizer; // of the models it comes from
    bool ignore_merges, adds_bos;
} names[] = {
    {"gpt-2", BYTE_LEVEL("true"), "null", false, false},
    {"smollm", SEQUENCE("{\"type\":\"Digits\",\"individual_digits\":true}," BYTE_LEVEL("true")),
     "null", false, false},
    {"qwen2", SEQUENCE(SPLIT(WORDS "|\\\\p{N}" MARKS_AND_SPACES) "," BYTE_LEVEL("false")),
     "{\"type\":\"NFC\"}", false, false},
    {"llama-bpe", SEQUENCE(SPLIT(WORDS "|\\\\p{N}{1,3}" MARKS_AND_SPACES) "," BYTE_LEVEL("false")),
     "null", true, true},
    // What llama.cpp does with a file that names none.
    {"default",
     SEQUENCE(SPLIT("[\\\\p{P}\\\\$\\\\+<=>\\\\^~\\\\|]+") "," SPLIT(GPT2) "," SPLIT(
         "\\\\p{N}+") "," SPLIT("[0-9][0-9][0-9]") "," BYTE_LEVEL("false")),
     "null", false, false},
    // The same under other names.
    {"llama3", SEQUENCE(SPLIT(WORDS "|\\\\p{N}{1,3}" MARKS_AND_SPACES) "," BYTE_LEVEL("false")),
     "null", true, true},
    {"llama-v3", SEQUENCE(SPLIT(WORDS "|\\\\p{N}{1,3}" MARKS_AND_SPACES) "," BYTE_LEVEL("false")),
     "null", true, true},
};
// Written for a tokenizer that fits none of them: llama.cpp then refuses the file, and this program
// reads tokenizer.huggingface.json.
static const char other_pre[] = "tokenizer.json";

struct text {
    const char *s;
    size_t n;
};

// -------------------------------------------------------------------------------------------------
// reading

struct vocabulary {
    struct text *tokens;
    uint8_t *kinds;
    int64_t n;
};

static bool read_tokens(struct vocabulary *v, const struct gguf *g, struct error *err) {
    const struct gguf_value *tokens, *kinds;
    if (!gguf_get_array(g, "tokenizer.ggml.tokens", GGUF_STRING, true, &tokens, err) ||
        !gguf_get_array(g, "tokenizer.ggml.token_type", GGUF_I32, false, &kinds, err))
        return false;
    if (kinds != NULL && kinds->n != tokens->n)
        return error_set(err, ERR_INPUT, "%s: %lld tokens and %lld token types", gguf_name(g),
                         (long long)tokens->n, (long long)kinds->n);
    v->tokens = calloc((size_t)tokens->n + 1, sizeof *v->tokens); // 8 bytes each are in the file
    v->kinds = calloc((size_t)tokens->n + 1, 1);
    if (v->tokens == NULL || v->kinds == NULL)
        return error_set(err, ERR_NOMEM, "%s: out of memory for the tokens", gguf_name(g));
    size_t cursor = 0;
    while (gguf_array_string(tokens, &cursor, &v->tokens[v->n].s, &v->tokens[v->n].n)) {
        const struct text *t = &v->tokens[v->n];
        int64_t kind = kinds != NULL ? gguf_array_i64(kinds, v->n) : KIND_NORMAL;
        if (!utf8_valid(t->s, t->n, NULL) || memchr(t->s, 0, t->n) != NULL)
            return error_set(err, ERR_INPUT, "%s: token %lld is not UTF-8 without NUL",
                             gguf_name(g), (long long)v->n);
        if (kind < KIND_NORMAL || kind > KIND_BYTE)
            return error_set(err, ERR_INPUT, "%s: token %lld has type %lld, not 1 to 6",
                             gguf_name(g), (long long)v->n, (long long)kind);
        v->kinds[v->n++] = (uint8_t)kind;
    }
    return true;
}

static void put_token(struct buf *out, const struct text *t) {
    buf_append_json_string(out, t->s, t->n);
}

static bool put_merges(struct buf *out, const struct gguf *g, struct error *err) {
    const struct gguf_value *merges;
    struct text m;
    size_t cursor = 0;
    if (!gguf_get_array(g, "tokenizer.ggml.merges", GGUF_STRING, true, &merges, err)) return false;
    buf_append_str(out, "\"merges\":[");
    for (int64_t i = 0; gguf_array_string(merges, &cursor, &m.s, &m.n); i++) {
        if (!utf8_valid(m.s, m.n, NULL) || memchr(m.s, 0, m.n) != NULL)
            return error_set(err, ERR_INPUT, "%s: merge %lld is not UTF-8 without NUL",
                             gguf_name(g), (long long)i);
        if (i > 0) buf_append_char(out, ',');
        put_token(out, &m);
    }
    buf_append_char(out, ']');
    return true;
}

// bos in front and eos behind, as the file's flags say.
static bool put_template(struct buf *out, const struct gguf *g, const struct vocabulary *v,
                         bool adds_bos, struct error *err) {
    bool add[2] = {adds_bos, false};
    int64_t ids[2] = {-1, -1};
    if (!gguf_get_bool(g, "tokenizer.ggml.add_bos_token", false, &add[0], err) ||
        !gguf_get_bool(g, "tokenizer.ggml.add_eos_token", false, &add[1], err) ||
        !gguf_get_i64(g, "tokenizer.ggml.bos_token_id", false, &ids[0], err) ||
        !gguf_get_i64(g, "tokenizer.ggml.eos_token_id", false, &ids[1], err))
        return false;
    for (int i = 0; i < 2; i++) {
        if (!add[i]) continue;
        if (ids[i] < 0 || ids[i] >= v->n)
            return error_set(err, ERR_INPUT, "%s: %s is to be added, its id is %lld of %lld tokens",
                             gguf_name(g), i == 0 ? "bos" : "eos", (long long)ids[i],
                             (long long)v->n);
    }
    if (!add[0] && !add[1]) {
        buf_append_str(out, "null");
        return true;
    }
    buf_append_str(out, "{\"type\":\"TemplateProcessing\",\"single\":[");
    for (int i = 0; i < 3; i++) {
        int token = i == 2 ? 1 : 0;
        if (i == 1) {
            buf_append_str(out, add[0] ? "," : "");
            buf_append_str(out, "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}");
        } else if (add[token]) {
            if (i == 2) buf_append_char(out, ',');
            buf_append_str(out, "{\"SpecialToken\":{\"id\":");
            put_token(out, &v->tokens[ids[token]]);
            buf_append_str(out, ",\"type_id\":0}}");
        }
    }
    buf_append_str(out, "],\"pair\":[{\"Sequence\":{\"id\":\"A\",\"type_id\":0}},"
                        "{\"Sequence\":{\"id\":\"B\",\"type_id\":1}}],\"special_tokens\":{");
    bool first = true;
    for (int i = 0; i < 2; i++) {
        if (!add[i] || (i == 1 && add[0] && ids[0] == ids[1])) continue;
        const struct text *t = &v->tokens[ids[i]];
        if (!first) buf_append_char(out, ',');
        first = false;
        put_token(out, t);
        buf_append_str(out, ":{\"id\":");
        put_token(out, t);
        buf_printf(out, ",\"ids\":[%lld],\"tokens\":[", (long long)ids[i]);
        put_token(out, t);
        buf_append_str(out, "]}");
    }
    buf_append_str(out, "}}");
    return true;
}

static bool build(struct buf *out, const struct gguf *g, const struct vocabulary *v,
                  const struct pretokenizer_name *pre, struct error *err) {
    bool first = true;
    buf_append_str(out, "{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,"
                        "\"added_tokens\":[");
    for (int64_t i = 0; i < v->n; i++) {
        bool special = v->kinds[i] == KIND_CONTROL || v->kinds[i] == KIND_UNKNOWN;
        if ((!special && v->kinds[i] != KIND_USER_DEFINED) || v->tokens[i].n == 0) continue;
        buf_printf(out, "%s{\"id\":%lld,\"content\":", first ? "" : ",", (long long)i);
        put_token(out, &v->tokens[i]);
        buf_printf(out,
                   ",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,"
                   "\"normalized\":false,\"special\":%s}",
                   special ? "true" : "false");
        first = false;
    }
    buf_printf(out, "],\"normalizer\":%s,\"pre_tokenizer\":%s,\"post_processor\":", pre->normalizer,
               pre->json);
    if (!put_template(out, g, v, pre->adds_bos, err)) return false;
    buf_printf(
        out,
        ",\"decoder\":" BYTE_LEVEL(
            "true") ",\"model\":{\"type\":\"BPE\",\"dropout\":null,"
                    "\"unk_token\":null,\"continuing_subword_prefix\":null,\"end_of_word_suffix\":"
                    "null,"
                    "\"fuse_unk\":false,\"byte_fallback\":false,\"ignore_merges\":%s,\"vocab\":{",
        pre->ignore_merges ? "true" : "false");
    first = true;
    for (int64_t i = 0; i < v->n; i++) {
        if (v->kinds[i] == KIND_UNUSED) continue; // rows that fill up the embedding
        if (!first) buf_append_char(out, ',');
        first = false;
        put_token(out, &v->tokens[i]);
        buf_printf(out, ":%lld", (long long)i);
    }
    buf_append_str(out, "},");
    if (!put_merges(out, g, err)) return false;
    buf_append_str(out, "}}");
    return true;
}

bool gguf_tokenizer_json(struct buf *out, const struct gguf *g, struct error *err) {
    const char *json = NULL, *model, *pre = "default";
    size_t n = 0, n_pre = 7;
    if (!gguf_get_string(g, "tokenizer.huggingface.json", false, &json, &n, err)) return false;
    if (json != NULL) {
        buf_append(out, json, n);
        return buf_ok(out) || error_set(err, ERR_NOMEM, "%s: out of memory", gguf_name(g));
    }
    if (!gguf_get_string(g, "tokenizer.ggml.model", true, &model, &n, err) ||
        !gguf_get_string(g, "tokenizer.ggml.pre", false, &pre, &n_pre, err))
        return false;
    if (n != 4 || memcmp(model, "gpt2", 4) != 0)
        return error_set(
            err, ERR_INPUT,
            "%s: tokenizer.ggml.model \"%.*s\" is not supported, only gpt2 (byte-level "
            "BPE) or a file with tokenizer.huggingface.json",
            gguf_name(g), (int)(n < 40 ? n : 40), model);
    const struct pretokenizer_name *found = NULL;
    for (int64_t i = 0; i < COUNT_OF(names); i++)
        if (strlen(names[i].name) == n_pre && memcmp(names[i].name, pre, n_pre) == 0)
            found = &names[i];
    if (found == NULL)
        return error_set(err, ERR_INPUT,
                         "%s: tokenizer.ggml.pre \"%.*s\" is not known; gpt-2, smollm, qwen2, "
                         "llama-bpe, llama3, llama-v3 and default are",
                         gguf_name(g), (int)(n_pre < 40 ? n_pre : 40), pre);
    struct vocabulary v = {0};
    bool ok = read_tokens(&v, g, err) && build(out, g, &v, found, err) &&
              (buf_ok(out) || error_set(err, ERR_NOMEM, "%s: out of memory", gguf_name(g)));
    free(v.tokens);
    free(v.kinds);
    return ok;
}

bool gguf_chat_template(struct buf *out, json_t **variables, const struct gguf *g,
                        struct error *err) {
    static const char *const ids[][2] = {{"tokenizer.ggml.bos_token_id", "bos_token"},
                                         {"tokenizer.ggml.eos_token_id", "eos_token"},
                                         {"tokenizer.ggml.unknown_token_id", "unk_token"},
                                         {"tokenizer.ggml.padding_token_id", "pad_token"}};
    const char *source = NULL;
    size_t n = 0;
    struct vocabulary v = {0};
    *variables = NULL;
    if (!gguf_get_string(g, "tokenizer.chat_template", false, &source, &n, err)) return false;
    if (source != NULL) buf_append(out, source, n);
    bool ok = (buf_ok(out) || error_set(err, ERR_NOMEM, "%s: out of memory", gguf_name(g))) &&
              read_tokens(&v, g, err);
    if (ok) *variables = json_object();
    for (int64_t i = 0; ok && i < COUNT_OF(ids); i++) {
        int64_t id = -1;
        ok = gguf_get_i64(g, ids[i][0], false, &id, err);
        if (ok && id >= 0 && id < v.n)
            json_object_set_new(*variables, ids[i][1],
                                json_stringn(v.tokens[id].s, v.tokens[id].n));
    }
    free(v.tokens);
    free(v.kinds);
    return ok;
}

// -------------------------------------------------------------------------------------------------
// writing

static bool json_same(const json_t *a, const char *text) {
    json_t *b = json_loads(text, JSON_DECODE_ANY, NULL);
    bool is = b != NULL && json_equal(a != NULL ? a : json_null(), b);
    json_decref(b);
    return is;
}

// ByteLevel's trim_offsets changes no id and use_regex may be left out: evened out to be compared.
static void member_even(json_t *c) {
    const char *type = json_string_value(json_object_get(c, "type"));
    if (type == NULL || strcmp(type, "ByteLevel") != 0) return;
    json_object_set_new(c, "trim_offsets", json_true());
    if (json_object_get(c, "use_regex") == NULL) json_object_set_new(c, "use_regex", json_true());
}

static json_t *pretokenizer_even(const json_t *p) {
    json_t *copy = json_deep_copy(p), *c;
    size_t i;
    member_even(copy);
    json_array_foreach(json_object_get(copy, "pretokenizers"), i, c) member_even(c);
    return copy;
}

// The name whose pipeline this is; one whose texts could come out otherwise is other_pre.
static const char *find_pre(const json_t *root) {
    const json_t *model = json_object_get(root, "model"),
                 *pre = json_object_get(root, "pre_tokenizer");
    const json_t *normalizer = json_object_get(root, "normalizer");
    const char *found = other_pre;
    size_t i;
    const json_t *added;
    // GGUF has no word for what an added token takes from the text around it.
    json_array_foreach(json_object_get(root, "added_tokens"), i, added) {
        if (json_is_true(json_object_get(added, "lstrip")) ||
            json_is_true(json_object_get(added, "rstrip")) ||
            json_is_true(json_object_get(added, "single_word")))
            return found;
    }
    if (!json_is_object(pre) || !json_is_string(json_object_get(pre, "type"))) return found;
    json_t *even = pretokenizer_even(pre);
    for (int64_t k = 0; k < COUNT_OF(names) && found == other_pre; k++) {
        bool ignore = json_is_true(json_object_get(model, "ignore_merges"));
        // llama.cpp normalises nothing, so for it a Qwen tokenizer is one with NFC or without.
        bool normal = normalizer == NULL || json_is_null(normalizer) ||
                      json_same(normalizer, names[k].normalizer);
        if (ignore == names[k].ignore_merges && normal && json_same(even, names[k].json))
            found = names[k].name;
    }
    json_decref(even);
    return found;
}

static bool is_empty(const json_t *v) {
    return v == NULL || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0);
}

static bool is_byte_level(const json_t *root) {
    const json_t *pre = json_object_get(root, "pre_tokenizer"), *c,
                 *model = json_object_get(root, "model");
    const char *type = json_string_value(json_object_get(pre, "type"));
    size_t i;
    bool is = type != NULL && strcmp(type, "ByteLevel") == 0;
    json_array_foreach(json_object_get(pre, "pretokenizers"), i, c) {
        type = json_string_value(json_object_get(c, "type"));
        is = is || (type != NULL && strcmp(type, "ByteLevel") == 0);
    }
    return is && is_empty(json_object_get(model, "continuing_subword_prefix")) &&
           is_empty(json_object_get(model, "end_of_word_suffix")) &&
           !json_is_true(json_object_get(model, "byte_fallback"));
}

static bool put_merge_list(struct gguf_metadata *m, const json_t *merges, const char *name,
                           struct error *err) {
    struct buf joined = {0};
    size_t i;
    const json_t *v;
    gguf_put_array(m, "tokenizer.ggml.merges", GGUF_STRING, (int64_t)json_array_size(merges));
    json_array_foreach(merges, i, v) {
        const char *a = json_string_value(json_array_get(v, 0)),
                   *b = json_string_value(json_array_get(v, 1));
        buf_reset(&joined);
        if (a != NULL) buf_printf(&joined, "%s %s", a, b != NULL ? b : "");
        else buf_append_str(&joined, json_is_string(v) ? json_string_value(v) : "");
        gguf_put_element_string(m, joined.data != NULL ? joined.data : "", joined.n_bytes);
    }
    bool ok = buf_ok(&joined) || error_set(err, ERR_NOMEM, "%s: out of memory", name);
    buf_release(&joined);
    return ok;
}

static void put_id(struct gguf_metadata *m, const char *key, int32_t id) {
    if (id >= 0) gguf_put_u32(m, key, (uint32_t)id);
}

// The flags bos and eos come from what the tokenizer adds to an empty text.
static bool put_ids(struct gguf_metadata *m, const struct model_config *c,
                    const struct tokenizer *t, struct error *err) {
    struct token_list list = {0};
    int32_t eos = c->n_eos > 0 ? c->eos[0] : -1;
    if (!tokenizer_encode(t, &list, "", 0, TOKENIZER_ADD_SPECIAL, err)) return false;
    bool bos_first = list.n > 0 && list.ids[0] == c->bos,
         eos_last = list.n > (bos_first ? 1 : 0) && list.ids[list.n - 1] == eos;
    bool all = list.n == (bos_first ? 1 : 0) + (eos_last ? 1 : 0);
    token_list_release(&list);
    if (!all)
        return error_set(err, ERR_INPUT,
                         "the tokenizer's template adds other tokens than bos and "
                         "eos, which GGUF cannot say");
    put_id(m, "tokenizer.ggml.bos_token_id", c->bos);
    put_id(m, "tokenizer.ggml.eos_token_id", eos);
    if (c->n_eos > 1) put_id(m, "tokenizer.ggml.eot_token_id", c->eos[1]);
    if (c->n_eos > 2) put_id(m, "tokenizer.ggml.eom_token_id", c->eos[2]);
    put_id(m, "tokenizer.ggml.padding_token_id", c->pad);
    gguf_put_bool(m, "tokenizer.ggml.add_bos_token", bos_first);
    gguf_put_bool(m, "tokenizer.ggml.add_eos_token", eos_last);
    gguf_put_array(m, "sillon.eos_token_ids", GGUF_I32, c->n_eos);
    for (int32_t i = 0; i < c->n_eos; i++) gguf_put_element_i32(m, c->eos[i]);
    return true;
}

static bool put_tokens(struct gguf_metadata *m, const struct model_config *c, const json_t *root,
                       const char *name, struct error *err) {
    const char **tokens = calloc((size_t)c->V, sizeof *tokens);
    uint8_t *kinds = malloc((size_t)c->V);
    bool ok =
        (tokens != NULL && kinds != NULL) || error_set(err, ERR_NOMEM, "%s: out of memory", name);
    const json_t *vocab = json_object_get(json_object_get(root, "model"), "vocab");
    const char *key;
    json_t *value;
    size_t i;
    if (ok) memset(kinds, KIND_UNUSED, (size_t)c->V);
    if (ok) {
        json_object_foreach((json_t *)(uintptr_t)vocab, key, value) { // ids below V: checked before
            tokens[json_integer_value(value)] = key;
            kinds[json_integer_value(value)] = KIND_NORMAL;
        }
        json_array_foreach(json_object_get(root, "added_tokens"), i, value) {
            int64_t id = json_integer_value(json_object_get(value, "id"));
            if (id < 0 || id >= c->V) continue; // an empty one, which the tokenizer leaves out
            tokens[id] = json_string_value(json_object_get(value, "content"));
            kinds[id] =
                json_is_true(json_object_get(value, "special")) ? KIND_CONTROL : KIND_USER_DEFINED;
        }
        gguf_put_array(m, "tokenizer.ggml.tokens", GGUF_STRING, c->V);
        for (int64_t id = 0; id < c->V; id++) {
            struct buf pad = {0};
            if (tokens[id] == NULL) buf_printf(&pad, "[PAD%lld]", (long long)id);
            const char *s = tokens[id] != NULL ? tokens[id] : pad.data != NULL ? pad.data : "";
            gguf_put_element_string(m, s, strlen(s));
            buf_release(&pad);
        }
        gguf_put_array(m, "tokenizer.ggml.token_type", GGUF_I32, c->V);
        for (int64_t id = 0; id < c->V; id++) gguf_put_element_i32(m, kinds[id]);
    }
    free(tokens);
    free(kinds);
    return ok;
}

bool gguf_put_tokenizer(struct gguf_metadata *m, const struct model_config *c, const char *json,
                        size_t n_bytes, const char *name, struct error *err) {
    struct tokenizer *t = NULL; // opened first: what loads is well formed, so the rest is plain
    json_t *root = NULL;
    bool ok = tokenizer_parse(&t, json, n_bytes, name, err) &&
              json_parse(&root, json, n_bytes, name, err);
    if (ok && tokenizer_vocab(t) > c->V)
        ok = error_set(err, ERR_INPUT, "%s: %lld tokens, the model only %lld rows", name,
                       (long long)tokenizer_vocab(t), (long long)c->V);
    if (ok && !is_byte_level(root))
        ok = error_set(err, ERR_INPUT, "%s: only byte-level BPE tokenizers can be written as GGUF",
                       name);
    if (ok) {
        const char *pre = find_pre(root);
        gguf_put_string(m, "tokenizer.ggml.model", "gpt2", 4);
        gguf_put_string(m, "tokenizer.ggml.pre", pre, strlen(pre));
        ok = put_tokens(m, c, root, name, err) &&
             put_merge_list(m, json_object_get(json_object_get(root, "model"), "merges"), name,
                            err) &&
             (put_ids(m, c, t, err) || error_wrap(err, "%s", name));
        gguf_put_string(m, "tokenizer.huggingface.json", json, n_bytes);
    }
    tokenizer_close(t);
    json_decref(root);
    return ok;
}
