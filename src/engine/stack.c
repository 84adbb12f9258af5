// engine/stack.c - block-diagonal union of weights.
#include "engine/stack.h"

#include "core/arena.h"
#include "core/file.h"
#include "engine/config.h"
#include "engine/safetensors.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STACK_MAX = 16 };

struct member {
    struct model_config config;
    struct tensor_set *set;
};

struct stack {
    struct member members[STACK_MAX];
    int n;
    struct model_config config; // of the union
    struct arena arena;
    struct tensor_source *sources;
    int64_t n_sources, capacity;
};

static bool members_open(struct stack *s, const char *const *folders, struct error *err) {
    for (int i = 0; i < s->n; i++) {
        struct model_config *c = &s->members[i].config;
        if (!model_config_read(c, folders[i], err) ||
            !tensor_set_open(&s->members[i].set, folders[i], err))
            return false;
        if (i == 0) {
            s->config = *c;
            s->config.C = s->config.H = s->config.H_kv = s->config.F = 0;
        }
        const struct model_config *first = &s->members[0].config;
        if (c->family != first->family || c->L != first->L || c->V != first->V ||
            c->D != first->D || c->rope_theta != first->rope_theta ||
            c->norm_eps != first->norm_eps || !c->tied_head || c->H != c->H_kv)
            return error_set(
                err, ERR_INPUT,
                "%s: family, layers, vocabulary, head size, rope, eps must be those of %s; "
                "tied head, as many key heads as heads",
                folders[i], folders[0]);
        if (c->qkv_bias || c->o_bias || c->mlp_bias)
            return error_set(err, ERR_INPUT, "%s: members with biases cannot be stacked",
                             folders[i]);
        s->config.C += c->C;
        s->config.H += c->H;
        s->config.H_kv += c->H_kv;
        s->config.F += c->F;
    }
    return true;
}

// A tensor of the union. Each member's block lies on the diagonal; rows_shared: all members share
// the rows (the embedding); a vector is the members' one after the other, times scale.
static bool add(struct stack *s, const char *name, bool is_vector, bool rows_shared, float scale,
                struct error *err) {
    int64_t rows = 0, columns = 0;
    const struct tensor *parts[STACK_MAX];
    for (int i = 0; i < s->n; i++) {
        const struct tensor *t = parts[i] = tensor_set_find(s->members[i].set, name);
        if (t == NULL || t->n_dims != (is_vector ? 1 : 2))
            return error_set(err, ERR_INPUT,
                             "stack: tensor \"%s\" is missing or misshapen in member %d", name, i);
        rows = rows_shared ? t->shape[0] : rows + t->shape[0];
        columns += is_vector ? 0 : t->shape[1];
    }
    size_t count = (size_t)rows * (size_t)(is_vector ? 1 : columns);
    float *out = arena_alloc_array(&s->arena, count, sizeof *out);
    if (out == NULL) return error_set(err, ERR_NOMEM, "stack: out of memory");
    int64_t row = 0, column = 0;
    for (int i = 0; i < s->n; i++) {
        const struct tensor *t = parts[i];
        int64_t R = t->shape[0], C = is_vector ? 1 : t->shape[1];
        float *block = malloc((size_t)t->count * sizeof *block + 1);
        if (block == NULL) return error_set(err, ERR_NOMEM, "stack: out of memory");
        bool ok = tensor_read_f32(block, t, err);
        for (int64_t r = 0; ok && r < R; r++)
            for (int64_t c = 0; c < C; c++)
                out[is_vector ? row + r : ((rows_shared ? 0 : row) + r) * columns + column + c] =
                    block[r * C + c] * scale;
        free(block);
        if (!ok) return false;
        row += R;
        column += C;
    }
    struct tensor_source *source = &s->sources[s->n_sources++];
    *source = (struct tensor_source){.name = arena_strndup(&s->arena, name, strlen(name)),
                                     .dtype = TENSOR_F32,
                                     .n_dims = is_vector ? 1 : 2,
                                     .shape = {rows, is_vector ? 0 : columns},
                                     .data = out};
    return arena_ok(&s->arena) || error_set(err, ERR_NOMEM, "stack: out of memory");
}

// The norms of q and k heads: one for all heads of a layer, so that of every member.
static bool add_qk_norm(struct stack *s, int64_t l, char which, struct error *err) {
    char name[128];
    int64_t D = s->config.D;
    snprintf(name, sizeof name, "model.layers.%lld.self_attn.%c_norm.weight", (long long)l, which);
    float *out = arena_alloc_array(&s->arena, (size_t)D, sizeof *out),
          *other = arena_alloc_array(&s->arena, (size_t)D, sizeof *other);
    if (out == NULL || other == NULL) return error_set(err, ERR_NOMEM, "stack: out of memory");
    for (int i = 0; i < s->n; i++) {
        const struct tensor *t = tensor_set_find(s->members[i].set, name);
        if (t == NULL || t->n_dims != 1 || t->count != D)
            return error_set(err, ERR_INPUT,
                             "stack: tensor \"%s\" is missing or misshapen in member %d", name, i);
        if (!tensor_read_f32(i == 0 ? out : other, t, err)) return false;
        if (i > 0 && memcmp(out, other, (size_t)D * sizeof *out) != 0)
            return error_set(
                err, ERR_INPUT,
                "stack: \"%s\" of members 0 and %d differ: train them with freeze_qk_norm", name,
                i);
    }
    s->sources[s->n_sources++] =
        (struct tensor_source){.name = arena_strndup(&s->arena, name, strlen(name)),
                               .dtype = TENSOR_F32,
                               .n_dims = 1,
                               .shape = {D},
                               .data = out};
    return arena_ok(&s->arena) || error_set(err, ERR_NOMEM, "stack: out of memory");
}

static bool add_all(struct stack *s, struct error *err) {
    static const char *const matrices[] = {
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
    static const char *const vectors[] = {"input_layernorm", "post_attention_layernorm"};
    s->capacity = s->config.L * 11 + 2;
    s->sources = arena_alloc_array(&s->arena, (size_t)s->capacity, sizeof *s->sources);
    if (s->sources == NULL) return error_set(err, ERR_NOMEM, "stack: out of memory");
    if (!add(s, "model.embed_tokens.weight", false, true, 1, err)) return false;
    for (int64_t l = 0; l < s->config.L; l++) {
        char name[128];
        for (int64_t i = 0; i < COUNT_OF(vectors); i++) {
            snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)l, vectors[i]);
            if (!add(s, name, true, false, 1, err)) return false;
        }
        for (int64_t i = 0; i < COUNT_OF(matrices); i++) {
            snprintf(name, sizeof name, "model.layers.%lld.%s.weight", (long long)l, matrices[i]);
            if (!add(s, name, false, false, 1, err)) return false;
        }
        if (s->config.qk_norm && (!add_qk_norm(s, l, 'q', err) || !add_qk_norm(s, l, 'k', err)))
            return false;
    }
    // The members' logits add up; the final norm makes a mean of the sum.
    return add(s, "model.norm.weight", true, false, 1.0f / (float)s->n, err);
}

static bool copy_files(const char *out, const char *from, struct error *err) {
    static const char *const names[] = {"tokenizer.json", "tokenizer_config.json",
                                        "special_tokens_map.json"};
    for (int64_t i = 0; i < COUNT_OF(names); i++) {
        char source[4096], target[4096], *text;
        size_t n_bytes;
        if (!file_join(source, sizeof source, from, names[i], err) ||
            !file_join(target, sizeof target, out, names[i], err))
            return false;
        if (i > 0 && !file_exists(source)) continue;
        if (!file_read(&text, &n_bytes, source, 0, err)) return false;
        bool ok = file_write_atomic(target, text, n_bytes, err);
        free(text);
        if (!ok) return false;
    }
    return true;
}

bool model_stack(const char *out, const char *const *folders, int n, struct error *err) {
    if (n < 1 || n > STACK_MAX)
        return error_set(err, ERR_USAGE, "stack: %d folders, 1 to %d can be stacked", n, STACK_MAX);
    struct stack s = {.n = n};
    char path[4096];
    bool ok = members_open(&s, folders, err) && add_all(&s, err) && file_make_folders(out, err) &&
              model_config_write(&s.config, out, err) && copy_files(out, folders[0], err) &&
              file_join(path, sizeof path, out, "model.safetensors", err) &&
              tensor_file_write(path, s.sources, s.n_sources, NULL, err);
    for (int i = 0; i < n; i++) tensor_set_close(s.members[i].set);
    arena_release(&s.arena);
    return ok;
}
