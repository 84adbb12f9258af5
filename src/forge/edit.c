// forge/edit.c - passes over a text with spans that follow.
#include "forge/edit.h"

#include <assert.h>
#include <string.h>

void edit_reset(struct edit *e, const char *text, size_t n_bytes) {
    buf_reset(&e->text);
    buf_append(&e->text, text, n_bytes);
    buf_reset(&e->out);
    e->n_spans = 0;
    e->at = 0;
}

bool edit_mark(struct edit *e, const char *span) {
    const char *at = strstr(edit_text(e), span);
    if (at == NULL || span[0] == '\0' || e->n_spans == EDIT_MAX_SPANS) return false;
    size_t begin = (size_t)(at - edit_text(e));
    e->spans[e->n_spans++] = (struct edit_span){begin, begin + strlen(span)};
    return true;
}

void edit_release(struct edit *e) {
    buf_release(&e->text);
    buf_release(&e->out);
    memset(e, 0, sizeof *e);
}

void edit_begin(struct edit *e) {
    e->at = 0;
    buf_reset(&e->out);
    for (int i = 0; i < e->n_spans; i++) e->next[i] = (struct edit_span){0, 0};
}

// Where the pass reads n bytes and writes them as other bytes, a span's begin moves to the first
// byte written and its end past the last one. A pure insertion (n = 0) never belongs to a span that
// begins or ends there.
void edit_put(struct edit *e, size_t n, const char *bytes, size_t n_out) {
    assert(e->at + n <= e->text.n_bytes);
    size_t before = e->out.n_bytes;
    buf_append(&e->out, bytes, n_out);
    for (int i = 0; i < e->n_spans; i++) {
        if (e->spans[i].begin >= e->at && e->spans[i].begin < e->at + n) e->next[i].begin = before;
        if (e->spans[i].end > e->at && e->spans[i].end <= e->at + n)
            e->next[i].end = e->out.n_bytes;
    }
    e->at += n;
}

void edit_keep(struct edit *e, size_t n) {
    assert(e->at + n <= e->text.n_bytes);
    size_t before = e->out.n_bytes;
    buf_append(&e->out, e->text.data + e->at, n);
    for (int i = 0; i < e->n_spans; i++) {
        if (e->spans[i].begin >= e->at && e->spans[i].begin < e->at + n)
            e->next[i].begin = before + (e->spans[i].begin - e->at);
        if (e->spans[i].end > e->at && e->spans[i].end <= e->at + n)
            e->next[i].end = before + (e->spans[i].end - e->at);
    }
    e->at += n;
}

void edit_finish(struct edit *e) {
    if (e->at < e->text.n_bytes) edit_keep(e, e->text.n_bytes - e->at);
    struct buf swap = e->text;
    e->text = e->out;
    e->out = swap;
    memcpy(e->spans, e->next, sizeof e->spans);
}
