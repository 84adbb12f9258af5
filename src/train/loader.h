// train/loader.h - token files to batches: shuffled by seed and epoch, packed in order, never
// splitting a document. The cursor (epoch, position) is the whole state: with the seed it
// determines every later batch. Thread: one owner. Memory is planned at open but for the order of
// documents, made anew each epoch in place.
#ifndef TRAIN_LOADER_H
#define TRAIN_LOADER_H

#include "train/data.h"
#include "train/network.h"

enum loader_mode {
    LOADER_ROTATE, // epoch e reads file e mod n: several augmented copies of one corpus
    LOADER_MIX,    // each epoch reads every file `repeat` times (a fraction: a random part of it)
};

struct loader_source {
    const char *path;
    double repeat; // used by LOADER_MIX
};

struct loader_options {
    enum loader_mode mode;
    bool shuffle;
    uint64_t seed;
    int64_t max_doc;      // longer documents are cut
    int64_t batch_tokens; // of one step
    int64_t micro_tokens; // of one pass of the network; at least max_doc
};

struct loader_doc {
    int32_t file_i, doc_i;
};

struct loader; // opaque
struct loader_batch {
    struct network_batch *micros; // [n_micros], borrowed until the next loader_next()
    int64_t n_micros;
    struct loader_doc *docs; // [n_docs]: where they came from
    int64_t n_docs, n_tokens;
    double weight; // sum of the weights of its predicted tokens
};

// All files must share a vocabulary and a tokenizer.
NODISCARD bool loader_open(struct loader **out, const struct loader_source *sources,
                           int64_t n_sources, const struct loader_options *options,
                           struct error *err);
void loader_close(struct loader *loader); // NULL is fine
int64_t loader_vocab(const struct loader *loader);
const char *loader_tokenizer_sha256(const struct loader *loader);
int64_t
loader_longest(const struct loader *loader);       // tokens of the longest document, before cutting
int64_t loader_n_cut(const struct loader *loader); // documents longer than max_doc, over all files
int64_t loader_n_docs(const struct loader *loader), loader_n_tokens(const struct loader *loader);

void loader_next(struct loader *loader, struct loader_batch *batch);
// Without shuffle a batch stops at the end of the files; with it, the next epoch follows in the
// same batch.
uint64_t loader_epoch(const struct loader *loader);
int64_t loader_position(const struct loader *loader);
// A saved cursor. Positions past the epoch's documents are an error.
NODISCARD bool loader_seek(struct loader *loader, uint64_t epoch, int64_t position,
                           struct error *err);
// Batches that start in epochs [0, n_epochs), from the beginning; a fraction of an epoch counts by
// documents. Leaves the cursor at the start.
int64_t loader_count(struct loader *loader, double n_epochs);
// "file.tok: documents 3, 17, ..." of a batch, for an error message.
void loader_describe(const struct loader *loader, const struct loader_batch *batch, char *out,
                     size_t out_bytes);

#endif
