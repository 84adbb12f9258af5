// control/worker.h - the thread that owns the model. It takes messages without a verdict from the
// store in order of arrival, gives every one its level first, and writes traces when no message
// waits; between two batches a chat request gets a few tokens. The store is the queue: memory holds
// one batch, whatever the backlog.
#ifndef CONTROL_WORKER_H
#define CONTROL_WORKER_H

#include "control/chat.h"
#include "control/judge.h"
#include "store/store.h"

struct worker; // opaque

struct worker_judged { // one verdict, committed
    int64_t message_seq, seq;
    double latency_s; // receipt to verdict
    int level;        // -1: judging failed
    bool first;       // not a second verdict with its trace
    bool traced;
};

struct worker_options {
    struct store *store; // borrowed
    struct judge judge;
    struct generator generator;
    enum trace_mode trace;
    // Worker thread, after each commit; must not block.
    void (*judged)(void *context, const struct worker_judged *verdicts, int64_t n);
    void (*store_failing)(
        void *context,
        const struct error *err); // verdicts wait for the store; NULL err: it is back
    void *context;
};

NODISCARD bool worker_open(struct worker **out, const struct worker_options *options,
                           struct error *err);
// Finishes its batch, ends chat requests with an error, joins the thread. The other functions go on
// answering.
void worker_stop(struct worker *worker);
void worker_close(struct worker *worker); // stops when that was not done; NULL is fine
void worker_wake(struct worker *worker);  // there are new messages in the store
// Takes a reference of `job`. ERR_LIMIT when too many wait.
NODISCARD bool worker_chat(struct worker *worker, struct chat_job *job, struct error *err);

enum worker_health { WORKER_OK, WORKER_FAILING, WORKER_STUCK, WORKER_STOPPED };
const char *worker_health_name(enum worker_health health); // "ok", "failing", ...
enum worker_health worker_health(struct worker *worker);

#endif
