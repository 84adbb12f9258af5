// train/data.h - token files: documents already tokenised, with the weight of predicting each
// token.
//
// Layout (little-endian; every part starts on a multiple of 8 bytes):
//   header   128 bytes, struct data_header below
//   docs     n_docs x 16 bytes: u64 first token, u32 number of tokens, f32 document weight
//   table    256 x f32, only when weight_kind is DATA_WEIGHT_CODES: the weight each code stands for
//   tokens   n_tokens x u16 or u32
//   weights  n_tokens x u8 (codes) or f32
// Documents follow each other without a gap. Token i's weight is the weight of predicting token i
// from the tokens before it in its document (the first one's is never used); the loss multiplies it
// by the document's. The forge writes these files, the trainer maps them. docs/training.md
// describes the format for others.
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include "core/file.h"
#include "core/hash.h"

enum { DATA_VERSION = 1, DATA_TABLE = 256, DATA_MAX_VOCAB = 1 << 22 };
enum data_weight_kind { DATA_WEIGHT_F32 = 0, DATA_WEIGHT_CODES = 1 };

struct data_header {
    char magic[8]; // "SILTOK01"
    uint32_t version;
    uint32_t token_bytes; // 2 or 4
    uint64_t vocab;       // every id is below it
    uint64_t n_docs, n_tokens;
    uint32_t weight_kind;
    uint32_t reserved;         // 0
    char tokenizer_sha256[64]; // of tokenizer.json, lower-case hex
    uint64_t file_bytes;       // of the whole file
    uint64_t reserved_2;       // 0
};
_Static_assert(sizeof(struct data_header) == 128, "header of a token file");

// One document to write, or read.
struct data_doc {
    const int32_t *tokens; // [n]
    const float *weights;  // [n], finite and >= 0
    int64_t n;
    float weight; // of the document, finite and >= 0
};

// --- writing. Everything is kept in memory until data_writer_close(), which writes PATH
// atomically.
struct data_writer; // opaque
NODISCARD bool data_writer_open(struct data_writer **out, const char *path, int64_t vocab,
                                const char *tokenizer_sha256, struct error *err);
// Copies the document. Empty ones, ids outside the vocabulary and bad weights are errors.
NODISCARD bool data_writer_append(struct data_writer *writer, const struct data_doc *doc,
                                  struct error *err);
// Writes the file and frees the writer, also on failure. At least one document is needed.
NODISCARD bool data_writer_close(struct data_writer *writer, struct error *err);
void data_writer_abandon(struct data_writer *writer); // frees, writes nothing; NULL is fine

// --- reading
struct data_file {
    struct file_map map;
    const uint8_t *docs, *tokens, *weights; // into the map
    float table[DATA_TABLE];
    int64_t vocab, n_docs, n_tokens;
    int64_t longest; // tokens of the longest document
    uint32_t token_bytes, weight_kind;
    char tokenizer_sha256[HASH_HEX_BYTES];
    char path[1024];
};
// Maps the file and checks all of it: sizes, gaps, every id and every weight.
NODISCARD bool data_file_open(struct data_file *file, const char *path, struct error *err);
// The same checks over borrowed bytes: for tests and fuzzing.
NODISCARD bool data_file_parse(struct data_file *file, const uint8_t *data, size_t n_bytes,
                               const char *name, struct error *err);
void data_file_close(struct data_file *file); // zeroed storage is fine
int64_t data_file_doc_tokens(const struct data_file *file, int64_t doc_i);
float data_file_doc_weight(const struct data_file *file, int64_t doc_i);
// Copies the first n tokens of a document and their weights (not multiplied by the document's).
void data_file_doc_read(const struct data_file *file, int64_t doc_i, int32_t *tokens,
                        float *weights, int64_t n);

#endif
