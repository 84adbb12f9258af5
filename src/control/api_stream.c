// control/api_stream.c - GET /v1/stream, server-sent events (WHATWG HTML 9.2). A stream is only a
// position: events are read from the store when the socket takes them, so a slow client costs no
// memory and skips nothing.
#include "control/control_internal.h"

#include "core/clock.h"
#include "core/log.h"

#include <stdlib.h>
#include <string.h>

enum { EVENTS_A_READ = 64, STATUS_MS = 2000, BEAT_MS = 10000 };

static bool event_add(void *context, const struct store_row *row) {
    struct request *r = context;
    buf_printf(&r->reply, "id: %lld\nevent: verdict\ndata: ", (long long)row->verdict_seq);
    row_append(&r->reply, row); // JSON holds no newline
    buf_append_str(&r->reply, "\n\n");
    r->stream_seq = row->verdict_seq;
    return buf_ok(&r->reply);
}

// Puts what is due in r->reply. false: the stream must end.
static bool stream_fill(struct request *r, int64_t last_seq) {
    struct control *c = r->control;
    struct error err = {0};
    int64_t now_ns = clock_monotonic_ns();
    buf_reset(&r->reply);
    r->sent_bytes = 0;
    if (last_seq > r->stream_seq) {
        if (!store_verdicts(c->options.store, r->stream_seq, r->least_level, EVENTS_A_READ,
                            event_add, r, &err)) {
            log_error("http", "path=%s error=\"%s\"", r->path, err.text);
            return false;
        }
        // Nothing left that this stream wants: do not look at the rows in between again.
        if (r->reply.n_bytes == 0) r->stream_seq = last_seq;
    }
    if (now_ns >= r->status_due_ns) {
        buf_append_str(&r->reply, "event: status\ndata: ");
        status_append(&r->reply, c);
        buf_append_str(&r->reply, "\n\n");
        r->status_due_ns = now_ns + (int64_t)STATUS_MS * 1000000;
    }
    if (now_ns >= r->beat_due_ns) {
        buf_append_str(&r->reply, ": beat\n\n");
        r->beat_due_ns = now_ns + (int64_t)BEAT_MS * 1000000;
    }
    return buf_ok(&r->reply);
}

static ssize_t stream_read(void *context, uint64_t position, char *out, size_t max_bytes) {
    struct request *r = context;
    struct control *c = r->control;
    (void)position;
    for (;;) {
        size_t left = r->reply.n_bytes - r->sent_bytes;
        if (left > 0) {
            size_t n = left < max_bytes ? left : max_bytes;
            memcpy(out, r->reply.data + r->sent_bytes, n);
            r->sent_bytes += n;
            return (ssize_t)n;
        }
        pthread_mutex_lock(&c->mu);
        int64_t last_seq = c->last_seq;
        bool stopping = c->stopping,
             idle = last_seq <= r->stream_seq && clock_monotonic_ns() < r->status_due_ns;
        if (idle &&
            !stopping) { // under the lock, so that no event slips between the look and the sleep
            r->suspended = true;
            c->n_suspended++;
            MHD_suspend_connection(r->connection);
        }
        pthread_mutex_unlock(&c->mu);
        if (stopping) return MHD_CONTENT_READER_END_OF_STREAM;
        if (idle) return 0;
        if (!stream_fill(r, last_seq)) return MHD_CONTENT_READER_END_WITH_ERROR;
    }
}

void streams_wake(struct control *c, bool all, int64_t now_ns) {
    for (struct request *r = c->streams; r != NULL; r = r->next)
        if (r->suspended && (all || now_ns >= r->status_due_ns)) request_resume_locked(r);
}

// Last-Event-ID wins over ?since=, as a browser repeats the address it was first given.
static bool position_read(struct request *r) {
    const char *header = request_header(r, "Last-Event-ID");
    r->stream_seq = r->control->last_seq;
    if (header == NULL) return request_query_i64(r, "since", 0, INT64_MAX, &r->stream_seq);
    char *end;
    long long seq = strtoll(header, &end, 10);
    if (end != header && *end == '\0' && seq >= 0) {
        r->stream_seq = seq;
        return true;
    }
    request_error(r, 400, ERR_INPUT, "Last-Event-ID: %.60s: a seq was expected", header);
    return false;
}

enum request_next api_stream(struct request *r) {
    struct control *c = r->control;
    if (!request_query_level(r, &r->least_level)) return NEXT_ANSWER;
    pthread_mutex_lock(&c->mu);
    bool ok = position_read(r), room = c->n_streams < c->options.max_streams && !c->stopping;
    if (ok && room) {
        c->n_streams++;
        request_list(&c->streams, r);
    }
    pthread_mutex_unlock(&c->mu);
    if (!ok) return NEXT_ANSWER;
    if (!room) {
        request_error(r, 429, ERR_LIMIT, "%d streams are open already", c->options.max_streams);
        return NEXT_ANSWER;
    }
    r->beat_due_ns = clock_monotonic_ns() + (int64_t)BEAT_MS * 1000000;
    struct MHD_Response *response = response_secure(
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 16 * 1024, stream_read, r, NULL));
    r->result = MHD_NO;
    if (response == NULL) return NEXT_QUEUED;
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    MHD_add_response_header(response, "X-Accel-Buffering", "no"); // for nginx in front
    r->result = MHD_queue_response(r->connection, 200, response);
    MHD_destroy_response(response);
    c->metrics.requests[2]++;
    return NEXT_QUEUED;
}
