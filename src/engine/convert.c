// engine/convert.c - model_convert: reads any source, writes either form.
#include "engine/convert.h"

#include "core/arena.h"
#include "core/buf.h"
#include "core/file.h"
#include "engine/chat.h"
#include "engine/gguf_model.h"
#include "engine/source.h"
#include "kernels/kernels.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    uint32_t gguf;
    int dtype;          // -1: not in a folder
    uint32_t file_type; // llama.cpp's number
} types[] = {
    {"f32", GGUF_F32, TENSOR_F32, 0},     {"f16", GGUF_F16, TENSOR_F16, 1},
    {"bf16", GGUF_BF16, TENSOR_BF16, 32}, {"q8_0", GGUF_Q8_0, -1, 7},
    {"q4_0", GGUF_Q4_0, -1, 2},
};

struct conversion {
    const struct source *source;
    const struct model_config *config;
    const char *in, *out;
    int type;         // index in types; -1: as stored
    int64_t *written; // to GGUF: each output's place in the source; -1 for rope_freqs
    struct arena arena;
    struct convert_report *report;
    struct error *err;
};

static bool nomem(struct conversion *v) {
    return error_set(v->err, ERR_NOMEM, "%s: out of memory", v->in);
}

// The type a tensor gets: index in types.
static int type_of(const struct conversion *v, const struct source_tensor *t) {
    if (v->type >= 0) return v->type;
    for (int i = 0; i < 3; i++)
        if (strcmp(t->type, gguf_type_name(types[i].gguf)) == 0) return i;
    return 0;
}

// The last part of a path.
static void path_name(char *out, size_t out_bytes, const char *path) {
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') end--;
    size_t begin = end;
    while (begin > 0 && path[begin - 1] != '/') begin--;
    snprintf(out, out_bytes, "%.*s", (int)(end - begin), path + begin);
}

// -------------------------------------------------------------------------------------------------
// to GGUF

// Tensors that carry nothing: frequencies old checkpoints keep, and the head of a config that ties
// it.
static bool is_left_out(const struct conversion *v, const struct source_tensor *t) {
    return strstr(t->name, ".rotary_emb.inv_freq") != NULL ||
           (v->config->tied_head && strcmp(t->name, "lm_head.weight") == 0);
}

// Gives the writer its values: those of the source, q and k reordered.
static bool give_tensor(void *context, int64_t i, float *out, struct error *err) {
    const struct conversion *v = context;
    if (v->written[i] < 0) {
        for (int64_t j = 0; j < v->config->D / 2; j++)
            out[j] = (float)gguf_rope_divisor(v->config, j);
        return true;
    }
    const struct source_tensor *t = source_at(v->source, v->written[i]);
    if (!source_read(out, t, err)) return error_wrap(err, "%s", v->in);
    int64_t heads = gguf_paired_heads(v->config, t->name), rows = t->shape[0];
    if (heads == 0) return true;
    if (rows % (2 * heads) != 0)
        return error_set(err, ERR_INPUT, "%s: tensor \"%s\": %lld rows for %lld heads", v->in,
                         t->name, (long long)rows, (long long)heads);
    return gguf_rows_reorder(out, rows, t->count / rows, heads, true, err);
}

static bool describe(struct conversion *v, struct gguf_output *o, const struct source_tensor *t) {
    char name[GGUF_NAME_BYTES];
    if (!gguf_name_from_hf(name, t->name))
        return error_set(v->err, ERR_INPUT, "%s: tensor \"%s\" has no name in GGUF", v->in,
                         t->name);
    if (t->n_dims < 1 || t->n_dims > GGUF_MAX_DIMS || t->count == 0)
        return error_set(v->err, ERR_INPUT, "%s: tensor \"%s\" of %d dimensions and %lld values",
                         v->in, t->name, t->n_dims, (long long)t->count);
    *o = (struct gguf_output){.name = arena_strndup(&v->arena, name, strlen(name)),
                              .n_dims = t->n_dims};
    if (o->name == NULL) return nomem(v);
    for (int d = 0; d < t->n_dims; d++) o->shape[d] = t->shape[d];
    o->type = t->n_dims == 1 ? (uint32_t)GGUF_F32 : types[type_of(v, t)].gguf;
    bool outer = strcmp(name, "token_embd.weight") == 0 || strcmp(name, "output.weight") == 0;
    if (o->type == GGUF_Q4_0 && outer) o->type = GGUF_Q8_0;
    int64_t block;
    size_t bytes;
    if (gguf_type_size(o->type, &block, &bytes) && o->shape[o->n_dims - 1] % block != 0) {
        o->type = GGUF_F16;
        v->report->n_kept_f16++;
    }
    return true;
}

static bool put_text(struct conversion *v, struct gguf_metadata *m) {
    struct buf json = {0}, chat = {0}, sillon = {0};
    json_t *variables = NULL;
    bool present = false;
    bool ok = source_tokenizer(v->source, &json, v->err) &&
              gguf_put_tokenizer(m, v->config, json.data != NULL ? json.data : "", json.n_bytes,
                                 v->in, v->err) &&
              chat_template_read(&chat, &variables, v->in, v->err) &&
              source_sillon_json(&sillon, &present, v->in, v->err);
    if (ok && chat.n_bytes > 0)
        gguf_put_string(m, "tokenizer.chat_template", chat.data, chat.n_bytes);
    if (ok && present)
        gguf_put_string(m, "sillon.json", sillon.data != NULL ? sillon.data : "", sillon.n_bytes);
    json_decref(variables);
    buf_release(&json);
    buf_release(&chat);
    buf_release(&sillon);
    return ok;
}

static bool to_gguf(struct conversion *v) {
    struct gguf_metadata m = {0};
    char name[256];
    int64_t n = 0, most = source_count(v->source) + 1;
    struct gguf_output *outputs = arena_alloc_array(&v->arena, (size_t)most, sizeof *outputs);
    v->written = arena_alloc_array(&v->arena, (size_t)most, sizeof *v->written);
    if (outputs == NULL || v->written == NULL) return nomem(v);
    uint32_t file_type = v->type >= 0 ? types[v->type].file_type : 0;
    const struct source_tensor *embedding = source_find(v->source, "model.embed_tokens.weight");
    if (v->type < 0 && embedding != NULL) file_type = types[type_of(v, embedding)].file_type;
    path_name(name, sizeof name, v->in);
    bool ok = gguf_put_config(&m, v->config, name, file_type, v->err) && put_text(v, &m);
    for (int64_t i = 0; ok && i < most - 1; i++) {
        const struct source_tensor *t = source_at(v->source, i);
        if (is_left_out(v, t)) continue;
        v->written[n] = i;
        ok = describe(v, &outputs[n++], t);
    }
    if (ok && v->config->rope_scaling == ROPE_LLAMA3) {
        v->written[n] = -1;
        outputs[n++] = (struct gguf_output){.name = "rope_freqs.weight",
                                            .type = GGUF_F32,
                                            .n_dims = 1,
                                            .shape = {v->config->D / 2}};
    }
    v->report->n_tensors = n;
    ok = ok && gguf_file_write(v->out, &m, outputs, n, give_tensor, v, v->err);
    gguf_metadata_release(&m);
    return ok;
}

// -------------------------------------------------------------------------------------------------
// to a folder

static bool fill_tensor(struct conversion *v, struct tensor_source *o,
                        const struct source_tensor *t) {
    int type = type_of(v, t);
    size_t bytes = tensor_dtype_bytes((enum tensor_dtype)types[type].dtype);
    *o = (struct tensor_source){
        .name = t->name, .dtype = (enum tensor_dtype)types[type].dtype, .n_dims = t->n_dims};
    memcpy(o->shape, t->shape, sizeof t->shape);
    float *values = malloc((size_t)t->count * sizeof *values + 1);
    uint8_t *stored = arena_alloc_array(&v->arena, (size_t)t->count, bytes);
    bool ok = (values != NULL && stored != NULL) || nomem(v);
    ok = ok && source_read(values, t, v->err) &&
         gguf_quantise(types[type].gguf, stored, values, t->count, t->name, v->err);
    free(values);
    o->data = stored;
    return ok || error_wrap(v->err, "%s", v->in);
}

static bool write_text(struct conversion *v, const char *name, const struct buf *text) {
    char path[4096];
    return buf_ok(text) ? file_join(path, sizeof path, v->out, name, v->err) &&
                              file_write_atomic(path, text->data, text->n_bytes, v->err)
                        : nomem(v);
}

static bool write_tokenizer_config(struct conversion *v) {
    struct buf chat = {0}, text = {0};
    json_t *variables = NULL;
    if (!chat_template_read(&chat, &variables, v->in, v->err)) {
        buf_release(&chat);
        return false;
    }
    json_t *root = variables != NULL ? variables : json_object();
    json_object_set_new(root, "tokenizer_class", json_string("PreTrainedTokenizerFast"));
    json_object_set_new(root, "model_max_length", json_integer(v->config->T_max));
    json_object_set_new(root, "clean_up_tokenization_spaces", json_false());
    if (chat.n_bytes > 0)
        json_object_set_new(root, "chat_template", json_stringn(chat.data, chat.n_bytes));
    char *dump = json_dumps(root, JSON_INDENT(2));
    if (dump != NULL) buf_append_str(&text, dump);
    buf_append_char(&text, '\n');
    bool ok = dump != NULL ? write_text(v, "tokenizer_config.json", &text) : nomem(v);
    free(dump);
    json_decref(root);
    buf_release(&chat);
    buf_release(&text);
    return ok;
}

static bool to_folder(struct conversion *v) {
    const struct model_config *c = v->config;
    char path[4096];
    if (v->type >= 0 && types[v->type].dtype < 0)
        return error_set(v->err, ERR_USAGE, "type %s: a folder's weights are f32, f16 or bf16",
                         types[v->type].name);
    // config.json says "attention_bias" for q, k, v and o at once; Qwen2's q, k, v go unsaid.
    if (c->family == FAMILY_QWEN2 ? c->o_bias : c->qkv_bias != c->o_bias)
        return error_set(v->err, ERR_INPUT,
                         "%s: biases of q, k, v %s o cannot be said in config.json", v->in,
                         c->o_bias ? "and of" : "without");
    int64_t n = source_count(v->source);
    struct tensor_source *outputs = arena_alloc_array(&v->arena, (size_t)n, sizeof *outputs);
    struct buf json = {0}, sillon = {0};
    bool present = false, ok = true;
    if (outputs == NULL) return nomem(v);
    for (int64_t i = 0; ok && i < n; i++) ok = fill_tensor(v, &outputs[i], source_at(v->source, i));
    v->report->n_tensors = n;
    ok = ok && source_tokenizer(v->source, &json, v->err) &&
         source_sillon_json(&sillon, &present, v->in, v->err) &&
         file_make_folders(v->out, v->err) && model_config_write(c, v->out, v->err) &&
         write_text(v, "tokenizer.json", &json) && write_tokenizer_config(v) &&
         (!present || write_text(v, "sillon.json", &sillon)) &&
         file_join(path, sizeof path, v->out, "model.safetensors", v->err) &&
         tensor_file_write(path, outputs, n, NULL, v->err);
    buf_release(&json);
    buf_release(&sillon);
    return ok;
}

bool model_convert(const char *out, const char *in, const char *type, struct convert_report *report,
                   struct error *err) {
    struct source *source = NULL;
    struct conversion v = {.in = in, .out = out, .type = -1, .report = report, .err = err};
    *report = (struct convert_report){0};
    for (int i = 0; type != NULL && i < COUNT_OF(types); i++)
        if (strcmp(types[i].name, type) == 0) v.type = i;
    if (type != NULL && v.type < 0)
        return error_set(err, ERR_USAGE, "type %s: f32, f16, bf16, q8_0 or q4_0 was expected",
                         type);
    if (!source_open(&source, in, err)) return false;
    v.source = source;
    v.config = source_config(source);
    arena_init(&v.arena, 0);
    size_t n = strlen(out);
    bool ok = n > 5 && strcmp(out + n - 5, ".gguf") == 0 ? to_gguf(&v) : to_folder(&v);
    arena_release(&v.arena);
    source_close(source);
    return ok;
}
