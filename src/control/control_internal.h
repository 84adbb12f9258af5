// control/control_internal.h - one HTTP request from its first line to its answer, shared by the
// api_*.c files.
//
//   headers -> request_check() --refused--> answer
//           -> body, in pieces -> route->start() -> answer
//                                      |  suspended: the store, a verdict or the worker is waited
//                                      for
//                                      +--> request_resume() from another thread -> route->resume()
//                                      -> answer
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include "control/control.h"
#include "control/metrics.h"
#include "control/worker.h"

#include <microhttpd.h>

enum request_next {
    NEXT_ANSWER, // request->status and reply are ready
    NEXT_WAIT,   // suspended
    NEXT_QUEUED, // a response was queued; request->result says how it went
};

struct request;
typedef enum request_next request_fn(struct request *request);

struct route {
    const char *method, *path; // a path that ends in '/' matches what begins with it
    request_fn *start, *resume;
};

struct request {
    struct control *control;
    struct MHD_Connection *connection;
    const struct route *route;
    const char *path; // valid as long as the request
    bool openai;      // errors in OpenAI's shape
    bool started;
    struct buf body;
    bool body_too_long;
    int status;
    struct buf reply;
    const char *type;       // Content-Type of the reply; NULL: JSON
    const char *allow;      // for 405
    enum MHD_Result result; // of NEXT_QUEUED
    struct request *previous,
        *next;      // in control->waiters or control->streams, guarded by control->mu
    bool listed;    // same
    bool suspended; // same
    // POST /v1/messages
    struct arena arena;
    struct body parsed;
    struct store_message *rows; // [n_rows]; arena
    int64_t n_rows, *row_items; // index in parsed.items; arena
    struct store_write write;
    int64_t wait_ms; // 0: do not wait for verdicts
    int64_t wait_until_ns;
    int64_t *pending, n_pending; // message seqs without a verdict; guarded by control->mu
    // GET /v1/stream
    int64_t stream_seq, status_due_ns, beat_due_ns;
    int least_level;
    size_t sent_bytes; // of `reply`, which holds events on their way
    // POST /v1/chat/completions
    struct chat_job *job;
    int chat_status;  // of a request the worker refused
    bool chat_opened; // the first chunk, with the role, is out
    bool chat_closed;
};

struct control {
    struct control_options options;
    struct worker *worker;
    struct MHD_Daemon *daemon;
    int listen_fd, port;
    bool loopback;
    int64_t started_ns;
    struct metrics metrics;
    _Atomic int64_t body_bytes; // of all requests being received
    _Atomic bool store_failing;
    _Atomic int64_t last_verdict_ms;
    bool mu_made;
    pthread_mutex_t mu; // guards what follows
    pthread_cond_t cond;
    struct request *waiters, *streams;
    int n_streams, n_suspended;
    int64_t last_seq; // newest verdict
    bool stopping;
    bool ticking;
    pthread_t ticker;
};

extern const struct route control_routes[];
extern const int64_t control_n_routes;

// --- server.c ---
void request_error(struct request *request, int status, enum error_code code, const char *format,
                   ...) PRINTF_LIKE(4, 5);
// Call before handing the request to a thread that may resume it. false: the server is stopping,
// nothing may wait.
NODISCARD bool request_suspend(struct request *request);
void request_resume(struct request *request);        // once a suspend; takes control->mu
void request_resume_locked(struct request *request); // control->mu is held
void request_list(struct request **list, struct request *request);   // control->mu is held
void request_unlist(struct request **list, struct request *request); // same; fine when not listed
const char *request_query(const struct request *request, const char *name); // NULL when absent
const char *request_header(const struct request *request, const char *name);
// Integer of the query string between least and most; absent keeps *out. false: a 400 is ready.
NODISCARD bool request_query_i64(struct request *request, const char *name, int64_t least,
                                 int64_t most, int64_t *out);
// "level=U3" -> 3; absent: -1.
NODISCARD bool request_query_level(struct request *request, int *level);
struct MHD_Response *
response_secure(struct MHD_Response *response); // adds the headers every answer has

// --- api_messages.c ---
void messages_judged(struct control *control, const struct worker_judged *judged,
                     int64_t n);                               // control->mu is held
void messages_expire(struct control *control, int64_t now_ns); // same
// --- api_read.c ---
void row_append(struct buf *out,
                const struct store_row *row); // one object of /v1/verdicts and of the stream
void status_append(struct buf *out, struct control *control); // the stream's status, as JSON
// --- api_stream.c ---
void streams_wake(struct control *control, bool all, int64_t now_ns); // control->mu is held

request_fn api_messages_post, api_messages_resume, api_verdicts, api_message, api_stats, api_health,
    api_metrics, api_stream, api_models, api_chat, api_chat_resume;

#endif
