// control/api_messages.c - POST /v1/messages: through the door, into the store, and only then
// acknowledged.
#include "control/control_internal.h"

#include "core/clock.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

// What may be kept of a message. Text is masked in place.
static bool row_prepare(struct store_message *row, struct control *c, struct arena *arena,
                        struct message *m, bool exercise, int64_t now_ms, struct error *err) {
    char *pseudonym = NULL;
    char *text = arena_strndup(arena, m->text, m->text_bytes);
    if (m->author != NULL && m->author[0] != '\0')
        pseudonym = arena_alloc(arena, DOOR_PSEUDONYM_BYTES);
    if (!arena_ok(arena)) return error_set(err, ERR_NOMEM, "out of memory for the messages");
    if (pseudonym != NULL) door_pseudonym(c->options.door, m->author, pseudonym);
    door_mask(text, m->text_bytes);
    *row = (struct store_message){
        .id = m->id,
        .text = text,
        .channel = m->channel >= 0 ? label_channels[m->channel] : NULL,
        .author = pseudonym,
        .sent_at = m->received_at,
        .received_ms = now_ms,
        .exercise = exercise || c->options.exercise,
    };
    return true;
}

bool control_submit(struct control *c, struct body_item *items, int64_t n, bool exercise,
                    struct error *err) {
    struct arena arena = {0};
    arena_init(&arena, 0);
    struct store_message *rows = arena_alloc_array(&arena, (size_t)n, sizeof *rows);
    bool ok =
        rows != NULL || error_set(err, ERR_NOMEM, "out of memory for %lld messages", (long long)n);
    for (int64_t i = 0; ok && i < n; i++)
        ok =
            row_prepare(&rows[i], c, &arena, &items[i].message, exercise, clock_realtime_ms(), err);
    struct store_write write = {.messages = rows, .n_messages = n};
    ok = ok && store_write_sync(c->options.store, &write, err);
    if (ok) {
        c->metrics.accepted += n;
        worker_wake(c->worker);
    }
    arena_release(&arena);
    return ok;
}

static void reject_append(struct buf *out, const struct body_item *item, const char *code,
                          const char *text) {
    buf_printf(out, "%s{\"line\":%lld,\"id\":", out->data[out->n_bytes - 1] == '[' ? "" : ",",
               (long long)item->line);
    if (item->message.id_given)
        buf_append_json_string(out, item->message.id, strlen(item->message.id));
    else buf_append_str(out, "null");
    buf_printf(out, ",\"error\":{\"code\":\"%s\",\"message\":", code);
    buf_append_json_string(out, text, strlen(text));
    buf_append_str(out, "}}");
}

static bool verdict_of_row(void *context, const struct store_row *row) {
    struct buf *out = context;
    if (row->verdict_json == NULL) return true;
    if (out->n_bytes > 0 && out->data[out->n_bytes - 1] != '[') buf_append_char(out, ',');
    row_append(out, row);
    return true;
}

static void verdicts_append(struct request *r) {
    struct error err = {0};
    buf_append_str(&r->reply, ",\"verdicts\":[");
    for (int64_t i = 0; i < r->n_rows; i++)
        if (r->rows[i].outcome != STORE_CONFLICT &&
            !store_find(r->control->options.store, r->rows[i].id, verdict_of_row, &r->reply, &err))
            log_warn("http", "id=%s error=\"%s\"", r->rows[i].id, err.text);
    buf_append_char(&r->reply, ']');
}

// The answer, once the store has spoken (or when no message was good enough to ask it).
static void answer(struct request *r) {
    int64_t n_accepted = 0, n_conflicts = 0, n_same = 0;
    struct buf *out = &r->reply;
    for (int64_t i = 0; i < r->n_rows; i++) {
        n_conflicts += r->rows[i].outcome == STORE_CONFLICT;
        n_same += r->rows[i].outcome == STORE_SAME;
    }
    n_accepted = r->n_rows - n_conflicts;
    buf_printf(out, "{\"accepted\":%lld,\"ids\":[", (long long)n_accepted);
    for (int64_t i = 0; i < r->n_rows; i++) {
        if (r->rows[i].outcome == STORE_CONFLICT) continue;
        if (out->data[out->n_bytes - 1] != '[') buf_append_char(out, ',');
        buf_append_json_string(out, r->rows[i].id, strlen(r->rows[i].id));
    }
    buf_append_str(out, "],\"rejected\":[");
    for (int64_t i = 0, row_i = 0; i < r->parsed.n; i++) {
        const struct body_item *item = &r->parsed.items[i];
        if (!buf_ok(out)) break;
        if (!item->ok) reject_append(out, item, error_code_name(item->err.code), item->err.text);
        else if (r->rows[row_i++].outcome == STORE_CONFLICT)
            reject_append(out, item, "conflict", "this id was accepted before with another text");
    }
    buf_append_char(out, ']');
    if (r->wait_ms > 0) verdicts_append(r);
    buf_append_char(out, '}');
    r->status = n_accepted > 0 ? 200 : n_conflicts > 0 && r->parsed.n == 1 ? 409 : 400;
    r->control->metrics.accepted += n_accepted;
    r->control->metrics.duplicates += n_same;
    r->control->metrics.conflicts += n_conflicts;
    r->control->metrics.rejected += r->parsed.n - r->n_rows;
}

// Store's writer thread, after the commit. A verdict of these messages is a later transaction, so
// none is missed by listing the request here.
static void stored(void *context, struct store_write *write) {
    struct request *r = context;
    struct control *c = r->control;
    c->store_failing = !write->ok;
    if (write->ok) worker_wake(c->worker);
    pthread_mutex_lock(&c->mu);
    if (write->ok && r->wait_ms > 0 && !c->stopping) {
        for (int64_t i = 0; i < r->n_rows; i++)
            if (r->rows[i].outcome != STORE_CONFLICT && r->rows[i].state == STORE_RECEIVED)
                r->pending[r->n_pending++] = r->rows[i].seq;
        if (r->n_pending > 0) {
            request_list(&c->waiters, r);
            pthread_mutex_unlock(&c->mu);
            return;
        }
    }
    request_resume_locked(r);
    pthread_mutex_unlock(&c->mu);
}

void messages_judged(struct control *c, const struct worker_judged *judged, int64_t n) {
    for (struct request *r = c->waiters, *next; r != NULL; r = next) {
        next = r->next;
        int64_t kept = 0;
        for (int64_t i = 0; i < r->n_pending; i++) {
            bool done = false;
            for (int64_t k = 0; k < n && !done; k++) done = judged[k].message_seq == r->pending[i];
            if (!done) r->pending[kept++] = r->pending[i];
        }
        r->n_pending = kept;
        if (kept > 0) continue;
        request_unlist(&c->waiters, r);
        request_resume_locked(r);
    }
}

void messages_expire(struct control *c, int64_t now_ns) {
    for (struct request *r = c->waiters, *next; r != NULL; r = next) {
        next = r->next;
        if (now_ns < r->wait_until_ns) continue;
        request_unlist(&c->waiters, r);
        request_resume_locked(r);
    }
}

static bool rows_prepare(struct request *r, bool exercise, struct error *err) {
    int64_t now_ms = clock_realtime_ms();
    for (int64_t i = 0; i < r->parsed.n; i++) r->n_rows += r->parsed.items[i].ok;
    if (r->n_rows == 0) return true;
    r->rows = arena_alloc_array(&r->arena, (size_t)r->n_rows, sizeof *r->rows);
    if (r->rows == NULL) return error_set(err, ERR_NOMEM, "out of memory for the messages");
    if (r->wait_ms > 0 && (r->pending = calloc((size_t)r->n_rows, sizeof *r->pending)) == NULL)
        return error_set(err, ERR_NOMEM, "out of memory for the messages");
    int64_t n = 0;
    for (int64_t i = 0; i < r->parsed.n; i++) {
        struct body_item *item = &r->parsed.items[i];
        if (item->ok && !row_prepare(&r->rows[n++], r->control, &r->arena, &item->message, exercise,
                                     now_ms, err))
            return false;
    }
    return true;
}

enum request_next api_messages_post(struct request *r) {
    const char *type = request_header(r, "Content-Type");
    bool ndjson = type != NULL && strcasestr(type, "ndjson") != NULL;
    int64_t wait_s = 0, exercise = 0;
    struct error err = {0};
    if (!request_query_i64(r, "wait", 0, 60, &wait_s) ||
        !request_query_i64(r, "exercise", 0, 1, &exercise))
        return NEXT_ANSWER;
    r->wait_ms = wait_s * 1000;
    r->wait_until_ns = clock_monotonic_ns() + r->wait_ms * 1000000;
    if (!body_parse(&r->parsed, &r->arena, r->body.data, r->body.n_bytes, ndjson, &err) ||
        !rows_prepare(r, exercise != 0, &err)) {
        int status = err.code == ERR_LIMIT ? 413 : err.code == ERR_INPUT ? 400 : 503;
        request_error(r, status, err.code, "%s", err.text);
        return NEXT_ANSWER;
    }
    if (r->n_rows == 0) {
        answer(r);
        return NEXT_ANSWER;
    }
    r->write = (struct store_write){
        .messages = r->rows, .n_messages = r->n_rows, .done = stored, .context = r};
    if (!request_suspend(r)) {
        request_error(r, 503, ERR_STATE, "nothing was stored: the server is shutting down");
        return NEXT_ANSWER;
    }
    store_submit(r->control->options.store, &r->write);
    return NEXT_WAIT;
}

enum request_next api_messages_resume(struct request *r) {
    if (r->write.ok) {
        answer(r);
        return NEXT_ANSWER;
    }
    log_error("http", "path=%s error=\"%s\" acknowledged=0", r->path, r->write.err.text);
    r->control->metrics.refused += r->n_rows;
    request_error(r, 503, r->write.err.code, "nothing was stored: %s", r->write.err.text);
    return NEXT_ANSWER;
}
