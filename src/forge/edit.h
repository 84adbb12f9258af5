// forge/edit.h - a text that changes in left-to-right passes while the spans marked in it (the
// evidence) follow. A span whose inside changes keeps covering what its words became, so it stays
// an exact substring. Owns: its buffers. Zeroed storage is valid; edit_release() frees. Thread:
// one.
#ifndef FORGE_EDIT_H
#define FORGE_EDIT_H

#include "core/buf.h"

enum { EDIT_MAX_SPANS = 8 };

struct edit_span {
    size_t begin, end; // bytes, end excluded; empty when nothing is left of it
};

struct edit {
    struct buf text, out; // the text now; what the pass in progress has written
    struct edit_span spans[EDIT_MAX_SPANS], next[EDIT_MAX_SPANS];
    int n_spans;
    size_t at; // how much of text the pass has read
};

void edit_reset(struct edit *e, const char *text, size_t n_bytes); // no spans
bool edit_mark(struct edit *e, const char *span); // first occurrence; false when absent or full
void edit_release(struct edit *e);

// One pass: edit_begin, any number of edit_keep / edit_put, edit_finish (which keeps the rest).
void edit_begin(struct edit *e);
void edit_keep(struct edit *e, size_t n_bytes); // copies
void edit_put(struct edit *e, size_t n_bytes, const char *bytes,
              size_t n_out_bytes); // reads n, writes other bytes
void edit_finish(struct edit *e);

static inline const char *edit_text(const struct edit *e) {
    return e->text.data == NULL ? "" : e->text.data;
}
static inline size_t edit_bytes(const struct edit *e) {
    return e->text.n_bytes;
}
static inline bool edit_ok(const struct edit *e) {
    return buf_ok(&e->text) && buf_ok(&e->out);
}

#endif
