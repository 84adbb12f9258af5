// train/loader.c - the order of documents of an epoch, and greedy packing.
#include "train/loader.h"

#include "core/arena.h"
#include "core/rng.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct loader {
    struct arena arena;
    struct loader_options options;
    struct data_file *files;
    double *repeats;
    int64_t n_files, n_cut;
    uint64_t epoch;
    int64_t position;
    struct loader_doc *order; // of the epoch
    int64_t n_order, order_capacity;
    // the batch
    int32_t *tokens;    // [batch_tokens]
    float *weights;     // [batch_tokens]
    int32_t *doc_begin; // [2 batch_tokens + 1]: one list a micro-batch
    struct network_batch *micros;
    struct loader_doc *docs;
};

static void order_add(struct loader *l, int64_t file_i, int64_t n) {
    for (int64_t d = 0; d < n; d++)
        l->order[l->n_order++] = (struct loader_doc){(int32_t)file_i, (int32_t)d};
}

static void order_shuffle(struct loader_doc *docs, int64_t n, struct rng *rng) { // Fisher and Yates
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(rng, (uint64_t)i + 1);
        struct loader_doc swap = docs[i];
        docs[i] = docs[j];
        docs[j] = swap;
    }
}

static int64_t mix_docs(const struct loader *l, int64_t file_i) {
    return (int64_t)ceil(l->repeats[file_i] * (double)l->files[file_i].n_docs - 1e-9);
}

static void order_make(struct loader *l) {
    struct rng rng;
    rng_init_stream(&rng, l->options.seed, l->epoch);
    l->n_order = 0;
    if (l->options.mode == LOADER_ROTATE && l->options.shuffle) {
        int64_t f = (int64_t)(l->epoch % (uint64_t)l->n_files);
        order_add(l, f, l->files[f].n_docs);
    } else {
        for (int64_t f = 0; f < l->n_files; f++) {
            int64_t n = l->files[f].n_docs, wanted = mix_docs(l, f);
            for (; wanted >= n; wanted -= n) order_add(l, f, n);
            if (wanted == 0) continue;
            int64_t begin =
                l->n_order; // a random part of the file: shuffle all of it, keep the head
            order_add(l, f, n);
            order_shuffle(l->order + begin, n, &rng);
            l->n_order = begin + wanted;
        }
    }
    if (l->options.shuffle) order_shuffle(l->order, l->n_order, &rng);
}

static bool loader_open_files(struct loader *l, const struct loader_source *sources,
                              struct error *err) {
    for (int64_t i = 0; i < l->n_files; i++) {
        struct data_file *f = &l->files[i];
        if (!data_file_open(f, sources[i].path, err)) return false;
        l->repeats[i] = sources[i].repeat;
        if (f->vocab != l->files[0].vocab ||
            strcmp(f->tokenizer_sha256, l->files[0].tokenizer_sha256) != 0)
            return error_set(err, ERR_INPUT, "%s: made with another tokenizer than %s", f->path,
                             l->files[0].path);
        if (f->n_docs > INT32_MAX)
            return error_set(err, ERR_LIMIT, "%s: too many documents", f->path);
        for (int64_t d = 0; d < f->n_docs; d++)
            l->n_cut += data_file_doc_tokens(f, d) > l->options.max_doc;
    }
    return true;
}

static bool loader_plan(struct loader *l, struct error *err) {
    int64_t B = l->options.batch_tokens, rotate = 0, mix = 0;
    for (int64_t i = 0; i < l->n_files; i++) {
        rotate = max_i64(rotate, l->files[i].n_docs);
        mix += mix_docs(l, i) + l->files[i].n_docs;
        if (mix > INT32_MAX)
            return error_set(err, ERR_LIMIT, "an epoch of %lld documents", (long long)mix);
    }
    l->order_capacity = max_i64(rotate, mix);
    l->order = arena_alloc_array(&l->arena, (size_t)l->order_capacity, sizeof l->order[0]);
    l->tokens = arena_alloc_array(&l->arena, (size_t)B, sizeof l->tokens[0]);
    l->weights = arena_alloc_array(&l->arena, (size_t)B, sizeof l->weights[0]);
    l->doc_begin = arena_alloc_array(&l->arena, (size_t)(2 * B + 1), sizeof l->doc_begin[0]);
    l->micros = arena_alloc_array(&l->arena, (size_t)B, sizeof l->micros[0]);
    l->docs = arena_alloc_array(&l->arena, (size_t)B, sizeof l->docs[0]);
    if (!arena_ok(&l->arena))
        return error_set(err, ERR_NOMEM, "batches of %lld tokens: out of memory", (long long)B);
    order_make(l);
    if (l->n_order == 0) return error_set(err, ERR_USAGE, "data: the mixture has no document");
    return true;
}

bool loader_open(struct loader **out, const struct loader_source *sources, int64_t n_sources,
                 const struct loader_options *options, struct error *err) {
    *out = NULL;
    assert(n_sources > 0 && options->max_doc > 0 && options->max_doc <= options->micro_tokens &&
           options->max_doc <= options->batch_tokens);
    struct loader *l = calloc(1, sizeof *l);
    if (l == NULL) return error_set(err, ERR_NOMEM, "loader: out of memory");
    arena_init(&l->arena, 0);
    l->options = *options;
    l->n_files = n_sources;
    l->files = arena_alloc_array(&l->arena, (size_t)n_sources, sizeof l->files[0]);
    l->repeats = arena_alloc_array(&l->arena, (size_t)n_sources, sizeof l->repeats[0]);
    if (!arena_ok(&l->arena)) {
        l->n_files = 0;
        error_set(err, ERR_NOMEM, "loader: out of memory");
        goto fail;
    }
    if (!loader_open_files(l, sources, err) || !loader_plan(l, err)) goto fail;
    *out = l;
    return true;
fail:
    loader_close(l);
    return false;
}

void loader_close(struct loader *loader) {
    if (loader == NULL) return;
    for (int64_t i = 0; i < loader->n_files; i++) data_file_close(&loader->files[i]);
    arena_release(&loader->arena);
    free(loader);
}

int64_t loader_vocab(const struct loader *loader) {
    return loader->files[0].vocab;
}

const char *loader_tokenizer_sha256(const struct loader *loader) {
    return loader->files[0].tokenizer_sha256;
}

int64_t loader_longest(const struct loader *loader) {
    int64_t longest = 0;
    for (int64_t i = 0; i < loader->n_files; i++)
        longest = max_i64(longest, loader->files[i].longest);
    return longest;
}

int64_t loader_n_cut(const struct loader *loader) {
    return loader->n_cut;
}

int64_t loader_n_docs(const struct loader *loader) {
    int64_t n = 0;
    for (int64_t i = 0; i < loader->n_files; i++) n += loader->files[i].n_docs;
    return n;
}

int64_t loader_n_tokens(const struct loader *loader) {
    int64_t n = 0;
    for (int64_t i = 0; i < loader->n_files; i++) n += loader->files[i].n_tokens;
    return n;
}

static int64_t doc_length(const struct loader *l, struct loader_doc doc) {
    return min_i64(data_file_doc_tokens(&l->files[doc.file_i], doc.doc_i), l->options.max_doc);
}

static void loader_step_epoch(struct loader *l) {
    if (l->position < l->n_order) return;
    l->epoch++;
    l->position = 0;
    order_make(l);
}

// Takes the documents of one batch from the order; reads nothing. Returns how many.
static int64_t batch_take(struct loader *l, int64_t *n_tokens) {
    int64_t n_docs = 0;
    *n_tokens = 0;
    for (;;) {
        struct loader_doc doc = l->order[l->position];
        int64_t n = doc_length(l, doc);
        if (*n_tokens + n > l->options.batch_tokens) break;
        l->docs[n_docs++] = doc;
        *n_tokens += n;
        l->position++;
        bool ended = l->position == l->n_order;
        loader_step_epoch(l);
        if (ended && !l->options.shuffle) break;
    }
    assert(n_docs > 0);
    return n_docs;
}

void loader_next(struct loader *l, struct loader_batch *batch) {
    *batch = (struct loader_batch){.micros = l->micros, .docs = l->docs};
    batch->n_docs = batch_take(l, &batch->n_tokens);
    int64_t at = 0, begins = 0;
    struct network_batch *micro = NULL;
    for (int64_t i = 0; i < batch->n_docs; i++) {
        const struct data_file *file = &l->files[l->docs[i].file_i];
        int64_t n = doc_length(l, l->docs[i]);
        if (micro == NULL || micro->T + n > l->options.micro_tokens) {
            micro = &l->micros[batch->n_micros++];
            *micro = (struct network_batch){l->tokens + at, l->weights + at, l->doc_begin + begins,
                                            0, 0};
            l->doc_begin[begins++] = 0;
        }
        data_file_doc_read(file, l->docs[i].doc_i, l->tokens + at, l->weights + at, n);
        float doc_weight = data_file_doc_weight(file, l->docs[i].doc_i);
        for (int64_t t = 0; t < n; t++) {
            l->weights[at + t] *= doc_weight;
            if (t > 0) batch->weight += (double)l->weights[at + t];
        }
        at += n;
        micro->T += n;
        micro->n_docs++;
        l->doc_begin[begins++] = (int32_t)micro->T;
    }
}

uint64_t loader_epoch(const struct loader *loader) {
    return loader->epoch;
}

int64_t loader_position(const struct loader *loader) {
    return loader->position;
}

bool loader_seek(struct loader *l, uint64_t epoch, int64_t position, struct error *err) {
    l->epoch = epoch;
    l->position = 0;
    order_make(l);
    if (position < 0 || position >= l->n_order)
        return error_set(
            err, ERR_INPUT,
            "data cursor %lld of epoch %llu, which has %lld documents: other data files?",
            (long long)position, (unsigned long long)epoch, (long long)l->n_order);
    l->position = position;
    return true;
}

int64_t loader_count(struct loader *l, double n_epochs) {
    int64_t n = 0, n_tokens;
    l->epoch = 0;
    l->position = 0;
    order_make(l);
    while ((double)l->epoch + (double)l->position / (double)l->n_order < n_epochs) {
        batch_take(l, &n_tokens);
        n++;
    }
    l->epoch = 0;
    l->position = 0;
    order_make(l);
    return n;
}

void loader_describe(const struct loader *l, const struct loader_batch *batch, char *out,
                     size_t out_bytes) {
    size_t n = 0;
    int32_t file_i = -1;
    out[0] = '\0';
    for (int64_t i = 0; i < batch->n_docs && n + 1 < out_bytes; i++) {
        struct loader_doc d = batch->docs[i];
        int wrote = d.file_i != file_i ? snprintf(out + n, out_bytes - n, "%s%s: %d", n ? "; " : "",
                                                  l->files[d.file_i].path, d.doc_i)
                                       : snprintf(out + n, out_bytes - n, ", %d", d.doc_i);
        if (wrote < 0) break;
        n += (size_t)wrote;
        file_i = d.file_i;
    }
    if (n >= out_bytes && out_bytes > 4) memcpy(out + out_bytes - 4, "...", 4);
}
