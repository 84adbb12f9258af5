// train/data.c - token files, written once and mapped read-only.
#include "train/data.h"

#include "core/buf.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char data_magic[8] = {'S', 'I', 'L', 'T', 'O', 'K', '0', '1'};

struct data_doc_record {
    uint64_t first;
    uint32_t n;
    float weight;
};
_Static_assert(sizeof(struct data_doc_record) == 16, "record of a document");

// ---- writing

struct data_writer {
    char path[1024];
    int64_t vocab;
    char tokenizer_sha256[HASH_HEX_BYTES];
    struct buf docs, tokens, weights;
    float table[DATA_TABLE];
    int n_table; // distinct weights seen; DATA_TABLE + 1: too many, weights are written as f32
    uint64_t n_docs, n_tokens;
};

static bool is_sha256_hex(const char *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) return false;
    return n == 64;
}

static bool weight_ok(float w) {
    return w >= 0.0f && w <= 1e30f; // false for NaN
}

bool data_writer_open(struct data_writer **out, const char *path, int64_t vocab,
                      const char *tokenizer_sha256, struct error *err) {
    *out = NULL;
    if (vocab < 1 || vocab > DATA_MAX_VOCAB)
        return error_set(err, ERR_USAGE, "%s: vocabulary of %lld tokens, expected 1 to %d", path,
                         (long long)vocab, DATA_MAX_VOCAB);
    if (!is_sha256_hex(tokenizer_sha256, strlen(tokenizer_sha256)))
        return error_set(err, ERR_USAGE,
                         "%s: tokenizer hash \"%s\" is not 64 lower-case hex digits", path,
                         tokenizer_sha256);
    struct data_writer *w = calloc(1, sizeof *w);
    if (w == NULL) return error_set(err, ERR_NOMEM, "%s: out of memory", path);
    if ((size_t)snprintf(w->path, sizeof w->path, "%s", path) >= sizeof w->path) {
        free(w);
        return error_set(err, ERR_LIMIT, "%s: path too long", path);
    }
    w->vocab = vocab;
    memcpy(w->tokenizer_sha256, tokenizer_sha256, 65);
    size_t limit = (size_t)1 << 40;
    buf_init(&w->docs, limit);
    buf_init(&w->tokens, limit);
    buf_init(&w->weights, limit);
    *out = w;
    return true;
}

void data_writer_abandon(struct data_writer *writer) {
    if (writer == NULL) return;
    buf_release(&writer->docs);
    buf_release(&writer->tokens);
    buf_release(&writer->weights);
    free(writer);
}

static int table_find(const struct data_writer *w, float weight) {
    for (int i = 0; i < w->n_table && i < DATA_TABLE; i++)
        if (memcmp(&w->table[i], &weight, sizeof weight) == 0) return i;
    return -1;
}

bool data_writer_append(struct data_writer *w, const struct data_doc *doc, struct error *err) {
    unsigned long long doc_i = (unsigned long long)w->n_docs;
    if (doc->n < 1 || doc->n > INT32_MAX)
        return error_set(err, ERR_INPUT, "%s: document %llu has %lld tokens", w->path, doc_i,
                         (long long)doc->n);
    if (!weight_ok(doc->weight))
        return error_set(err, ERR_INPUT, "%s: document %llu has weight %g", w->path, doc_i,
                         (double)doc->weight);
    for (int64_t i = 0; i < doc->n; i++) {
        if (doc->tokens[i] < 0 || doc->tokens[i] >= w->vocab)
            return error_set(err, ERR_INPUT,
                             "%s: document %llu, token %lld: id %d, the vocabulary has %lld",
                             w->path, doc_i, (long long)i, doc->tokens[i], (long long)w->vocab);
        if (!weight_ok(doc->weights[i]))
            return error_set(err, ERR_INPUT, "%s: document %llu, token %lld: weight %g", w->path,
                             doc_i, (long long)i, (double)doc->weights[i]);
    }
    for (int64_t i = 0; i < doc->n && w->n_table <= DATA_TABLE; i++) {
        if (table_find(w, doc->weights[i]) >= 0) continue;
        if (w->n_table < DATA_TABLE) w->table[w->n_table] = doc->weights[i];
        w->n_table++;
    }
    struct data_doc_record record = {w->n_tokens, (uint32_t)doc->n, doc->weight};
    buf_append(&w->docs, &record, sizeof record);
    buf_append(&w->tokens, doc->tokens, (size_t)doc->n * sizeof doc->tokens[0]);
    buf_append(&w->weights, doc->weights, (size_t)doc->n * sizeof doc->weights[0]);
    w->n_docs++;
    w->n_tokens += (uint64_t)doc->n;
    if (!buf_ok(&w->docs) || !buf_ok(&w->tokens) || !buf_ok(&w->weights))
        return error_set(err, ERR_NOMEM, "%s: out of memory after %llu documents", w->path, doc_i);
    return true;
}

static size_t pad8(size_t n) {
    return (n + 7) / 8 * 8;
}

// Shrinks tokens to u16 in place when they fit, and weights to codes when the table holds them all.
static void writer_compact(struct data_writer *w, uint32_t *token_bytes, uint32_t *weight_kind) {
    *token_bytes = w->vocab <= 65536 ? 2 : 4;
    if (*token_bytes == 2) {
        for (uint64_t i = 0; i < w->n_tokens; i++) {
            int32_t id;
            memcpy(&id, w->tokens.data + i * 4, 4);
            uint16_t small = (uint16_t)id;
            memcpy(w->tokens.data + i * 2, &small, 2);
        }
        w->tokens.n_bytes /= 2;
    }
    *weight_kind = w->n_table <= DATA_TABLE ? DATA_WEIGHT_CODES : DATA_WEIGHT_F32;
    if (*weight_kind == DATA_WEIGHT_F32) return;
    for (uint64_t i = 0; i < w->n_tokens; i++) {
        float weight;
        memcpy(&weight, w->weights.data + i * 4, 4);
        w->weights.data[i] = (char)table_find(w, weight);
    }
    w->weights.n_bytes /= 4;
}

static bool write_part(FILE *f, const void *data, size_t n_bytes) {
    static const char zeros[8] = {0};
    size_t gap = pad8(n_bytes) - n_bytes;
    return fwrite(data, 1, n_bytes, f) == n_bytes && fwrite(zeros, 1, gap, f) == gap;
}

static bool writer_write(struct data_writer *w, struct error *err) {
    if (w->n_docs == 0) return error_set(err, ERR_INPUT, "%s: no document to write", w->path);
    char tmp[1100];
    snprintf(tmp, sizeof tmp, "%s.tmp", w->path);
    struct data_header h = {.version = DATA_VERSION, .vocab = (uint64_t)w->vocab};
    memcpy(h.magic, data_magic, sizeof h.magic);
    memcpy(h.tokenizer_sha256, w->tokenizer_sha256, sizeof h.tokenizer_sha256);
    h.n_docs = w->n_docs;
    h.n_tokens = w->n_tokens;
    writer_compact(w, &h.token_bytes, &h.weight_kind);
    bool codes = h.weight_kind == DATA_WEIGHT_CODES;
    h.file_bytes = sizeof h + w->docs.n_bytes + (codes ? sizeof w->table : 0) +
                   pad8(w->tokens.n_bytes) + pad8(w->weights.n_bytes);
    FILE *f = fopen(tmp, "wb");
    if (f == NULL) return error_set(err, ERR_IO, "%s: %s", tmp, strerror(errno));
    bool ok = write_part(f, &h, sizeof h) && write_part(f, w->docs.data, w->docs.n_bytes) &&
              (!codes || write_part(f, w->table, sizeof w->table)) &&
              write_part(f, w->tokens.data, w->tokens.n_bytes) &&
              write_part(f, w->weights.data, w->weights.n_bytes) && fflush(f) == 0 &&
              fsync(fileno(f)) == 0;
    int saved_errno = errno;
    ok = fclose(f) == 0 && ok;
    if (ok && rename(tmp, w->path) == 0) return true;
    if (ok) saved_errno = errno;
    unlink(tmp);
    return error_set(err, ERR_IO, "%s: cannot write: %s", w->path, strerror(saved_errno));
}

bool data_writer_close(struct data_writer *writer, struct error *err) {
    bool ok = writer_write(writer, err);
    data_writer_abandon(writer);
    return ok;
}

// ---- reading

static struct data_doc_record doc_record(const struct data_file *file, int64_t doc_i) {
    assert(doc_i >= 0 && doc_i < file->n_docs);
    struct data_doc_record record;
    memcpy(&record, file->docs + doc_i * (int64_t)sizeof record, sizeof record);
    return record;
}

static int32_t token_at(const struct data_file *file, uint64_t i) {
    if (file->token_bytes == 2) {
        uint16_t id;
        memcpy(&id, file->tokens + i * 2, 2);
        return id;
    }
    uint32_t id;
    memcpy(&id, file->tokens + i * 4, 4);
    return (int32_t)id; // checked below the vocabulary at open, which is below 2^22
}

static float weight_at(const struct data_file *file, uint64_t i) {
    if (file->weight_kind == DATA_WEIGHT_CODES) return file->table[file->weights[i]];
    float w;
    memcpy(&w, file->weights + i * 4, 4);
    return w;
}

static bool check_header(const struct data_header *h, size_t n_bytes, const char *name,
                         struct error *err) {
    if (memcmp(h->magic, data_magic, sizeof h->magic) != 0)
        return error_set(err, ERR_INPUT, "%s: not a token file (it does not start with SILTOK01)",
                         name);
    if (h->version != DATA_VERSION)
        return error_set(err, ERR_INPUT, "%s: version %u, this program reads version %d", name,
                         h->version, DATA_VERSION);
    if (h->token_bytes != 2 && h->token_bytes != 4)
        return error_set(err, ERR_INPUT, "%s: %u bytes a token, expected 2 or 4", name,
                         h->token_bytes);
    if (h->weight_kind != DATA_WEIGHT_F32 && h->weight_kind != DATA_WEIGHT_CODES)
        return error_set(err, ERR_INPUT, "%s: kind of weights %u, expected 0 or 1", name,
                         h->weight_kind);
    if (h->reserved != 0 || h->reserved_2 != 0)
        return error_set(err, ERR_INPUT, "%s: reserved fields of the header are not 0", name);
    if (h->vocab < 1 || h->vocab > DATA_MAX_VOCAB)
        return error_set(err, ERR_INPUT, "%s: vocabulary of %llu tokens, expected 1 to %d", name,
                         (unsigned long long)h->vocab, DATA_MAX_VOCAB);
    if (!is_sha256_hex(h->tokenizer_sha256, 64))
        return error_set(err, ERR_INPUT, "%s: the tokenizer's hash is not lower-case hex", name);
    // Each document has a 16-byte record and a token 3 bytes at least, so larger counts cannot be
    // true and the sizes below cannot overflow.
    if (h->n_docs < 1 || h->n_docs > n_bytes / sizeof(struct data_doc_record))
        return error_set(err, ERR_INPUT, "%s: %llu documents in a file of %zu bytes", name,
                         (unsigned long long)h->n_docs, n_bytes);
    if (h->n_tokens < h->n_docs || h->n_tokens > n_bytes)
        return error_set(err, ERR_INPUT,
                         "%s: %llu tokens for %llu documents in a file of %zu bytes", name,
                         (unsigned long long)h->n_tokens, (unsigned long long)h->n_docs, n_bytes);
    return true;
}

static bool check_docs(struct data_file *file, const char *name, struct error *err) {
    uint64_t next = 0;
    for (int64_t d = 0; d < file->n_docs; d++) {
        struct data_doc_record r = doc_record(file, d);
        if (r.first != next || r.n < 1 || r.n > (uint64_t)file->n_tokens - next)
            return error_set(err, ERR_INPUT,
                             "%s: document %lld has %u tokens from token %llu on, expected to "
                             "start at %llu of %lld",
                             name, (long long)d, r.n, (unsigned long long)r.first,
                             (unsigned long long)next, (long long)file->n_tokens);
        if (!weight_ok(r.weight))
            return error_set(err, ERR_INPUT, "%s: document %lld has weight %g", name, (long long)d,
                             (double)r.weight);
        next += r.n;
        file->longest = max_i64(file->longest, r.n);
    }
    if (next != (uint64_t)file->n_tokens)
        return error_set(err, ERR_INPUT, "%s: documents hold %llu tokens, the header says %lld",
                         name, (unsigned long long)next, (long long)file->n_tokens);
    return true;
}

static bool check_tokens(const struct data_file *file, const char *name, struct error *err) {
    for (uint64_t i = 0; i < (uint64_t)file->n_tokens; i++) {
        int32_t id = token_at(file, i);
        if (id < 0 || id >= file->vocab)
            return error_set(err, ERR_INPUT, "%s: token %llu has id %lld, the vocabulary has %lld",
                             name, (unsigned long long)i, (long long)(uint32_t)id,
                             (long long)file->vocab);
        float w = weight_at(file, i);
        if (!weight_ok(w))
            return error_set(err, ERR_INPUT, "%s: token %llu has weight %g", name,
                             (unsigned long long)i, (double)w);
    }
    return true;
}

bool data_file_parse(struct data_file *file, const uint8_t *data, size_t n_bytes, const char *name,
                     struct error *err) {
    *file = (struct data_file){0};
    struct data_header h;
    if (n_bytes < sizeof h)
        return error_set(err, ERR_INPUT, "%s: %zu bytes, a token file has at least %zu", name,
                         n_bytes, sizeof h);
    memcpy(&h, data, sizeof h);
    if (!check_header(&h, n_bytes, name, err)) return false;
    bool codes = h.weight_kind == DATA_WEIGHT_CODES;
    size_t docs_bytes = h.n_docs * sizeof(struct data_doc_record),
           table_bytes = codes ? sizeof file->table : 0;
    size_t tokens_bytes = pad8(h.n_tokens * h.token_bytes),
           weights_bytes = pad8(h.n_tokens * (codes ? 1 : 4));
    size_t expected = sizeof h + docs_bytes + table_bytes + tokens_bytes + weights_bytes;
    if (n_bytes != expected || h.file_bytes != expected)
        return error_set(err, ERR_INPUT,
                         "%s: %zu bytes (the header says %llu), its counts make %zu: cut short?",
                         name, n_bytes, (unsigned long long)h.file_bytes, expected);
    file->docs = data + sizeof h;
    if (codes) memcpy(file->table, file->docs + docs_bytes, table_bytes);
    file->tokens = file->docs + docs_bytes + table_bytes;
    file->weights = file->tokens + tokens_bytes;
    file->vocab = (int64_t)h.vocab;
    file->n_docs = (int64_t)h.n_docs;
    file->n_tokens = (int64_t)h.n_tokens;
    file->token_bytes = h.token_bytes;
    file->weight_kind = h.weight_kind;
    memcpy(file->tokenizer_sha256, h.tokenizer_sha256, 64);
    snprintf(file->path, sizeof file->path, "%s", name);
    return check_docs(file, name, err) && check_tokens(file, name, err);
}

bool data_file_open(struct data_file *file, const char *path, struct error *err) {
    struct file_map map;
    *file = (struct data_file){0};
    if (!file_map(&map, path, err)) return false;
    bool ok = data_file_parse(file, map.data, map.n_bytes, path, err);
    file->map = map;
    if (!ok) data_file_close(file);
    return ok;
}

void data_file_close(struct data_file *file) {
    file_unmap(&file->map);
    *file = (struct data_file){0};
}

int64_t data_file_doc_tokens(const struct data_file *file, int64_t doc_i) {
    return doc_record(file, doc_i).n;
}

float data_file_doc_weight(const struct data_file *file, int64_t doc_i) {
    return doc_record(file, doc_i).weight;
}

void data_file_doc_read(const struct data_file *file, int64_t doc_i, int32_t *tokens,
                        float *weights, int64_t n) {
    struct data_doc_record r = doc_record(file, doc_i);
    assert(n <= r.n);
    for (int64_t i = 0; i < n; i++) {
        tokens[i] = token_at(file, r.first + (uint64_t)i);
        weights[i] = weight_at(file, r.first + (uint64_t)i);
    }
}
