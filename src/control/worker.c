// control/worker.c - batches of messages, then traces, then a turn of chat.
#include "control/worker.h"

#include "core/clock.h"
#include "core/log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    CHAT_QUEUE = 32,
    CHAT_TOKENS_A_TURN = 8, // between two batches of messages
    TRACES_A_TURN = 4,      // small: a message that comes meanwhile waits for them
    JUDGE_ATTEMPTS = 3,     // of one message alone
    STUCK_S = 60,
};
static const double trace_p_urgent =
    0.02; // below it triage never finds a message doubtful enough for a trace

struct batch_item {
    struct message message;
    struct verdict verdict;
    int64_t message_seq, received_ms;
    bool judged;
    struct error err; // when not judged
    size_t json_offset;
};

struct worker {
    struct worker_options options;
    struct batch_item *items; // [n_batch]; worker thread only, as are the next ones
    struct message *messages;
    struct verdict *verdicts;
    struct store_verdict *rows;
    struct worker_judged *judged;
    struct arena arena;
    struct chat_job *chat; // being written; NULL: none
    int64_t n_batch;
    pthread_mutex_t mu; // guards what follows
    pthread_cond_t cond;
    bool woken, closing, running, stopped;
    int n_failures;        // messages that could not be judged, since the last that could
    int64_t busy_since_ns; // 0: waiting for work
    struct chat_job *chat_head, **chat_tail;
    int n_chat;
    pthread_t thread;
};

static bool worker_closing(struct worker *w) {
    pthread_mutex_lock(&w->mu);
    bool closing = w->closing;
    pthread_mutex_unlock(&w->mu);
    return closing;
}

// Sleeps, less when the worker closes.
static void worker_pause(struct worker *w, int64_t ms) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&w->mu);
    while (!w->closing && pthread_cond_timedwait(&w->cond, &w->mu, &until) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&w->mu);
}

static void busy_mark(struct worker *w, bool busy) {
    pthread_mutex_lock(&w->mu);
    w->busy_since_ns = busy ? clock_monotonic_ns() : 0;
    pthread_mutex_unlock(&w->mu);
}

// --- one batch ---

struct collect {
    struct worker *worker;
    int64_t n;
};

static bool batch_add(void *context, const struct store_row *row) {
    struct collect *collect = context;
    struct batch_item *item = &collect->worker->items[collect->n];
    struct arena *arena = &collect->worker->arena;
    *item = (struct batch_item){.message_seq = row->message_seq, .received_ms = row->received_ms};
    item->message = (struct message){
        .id = arena_strndup(arena, row->id, strlen(row->id)),
        .text = arena_strndup(arena, row->text, row->text_bytes),
        .text_bytes = row->text_bytes,
        .channel = row->channel != NULL ? label_find(label_channels, N_CHANNELS, row->channel) : -1,
        .id_given = true,
    };
    if (!arena_ok(arena)) return false;
    return ++collect->n < collect->worker->n_batch;
}

// Judges one message by itself, a few times: a machine short of memory may have some a second
// later.
static void item_judge_alone(struct worker *w, struct batch_item *item, enum trace_mode mode) {
    for (int attempt = 1; attempt <= JUDGE_ATTEMPTS; attempt++) {
        item->err = (struct error){0};
        item->verdict = (struct verdict){0};
        item->judged = w->options.judge.run(w->options.judge.context, &item->message, 1, mode,
                                            &item->verdict, &item->err);
        if (item->judged) break;
        verdict_release(&item->verdict);
        log_warn("worker", "id=%s attempt=%d error=\"%s\"", item->message.id, attempt,
                 item->err.text);
        if (attempt < JUDGE_ATTEMPTS) worker_pause(w, 100 * attempt);
    }
    pthread_mutex_lock(&w->mu);
    w->n_failures = item->judged ? 0 : w->n_failures + 1;
    pthread_mutex_unlock(&w->mu);
}

static void batch_judge(struct worker *w, int64_t n, enum trace_mode mode) {
    struct error err = {0};
    int64_t now_ms = clock_realtime_ms();
    for (int64_t i = 0; i < n; i++) w->messages[i] = w->items[i].message;
    bool ok =
        w->options.judge.run(w->options.judge.context, w->messages, n, mode, w->verdicts, &err);
    for (int64_t i = 0; i < n; i++) {
        struct batch_item *item = &w->items[i];
        if (ok) {
            item->verdict = w->verdicts[i];
            item->judged = true;
        } else {
            verdict_release(&w->verdicts[i]);
            item_judge_alone(w, item, mode);
        }
        item->verdict.queue_ms = (float)max_i64(now_ms - item->received_ms, 0);
    }
    if (!ok)
        return log_warn("worker", "n=%lld error=\"%s\" then=one_by_one", (long long)n, err.text);
    pthread_mutex_lock(&w->mu);
    w->n_failures = 0;
    pthread_mutex_unlock(&w->mu);
}

static bool trace_is_due(const struct worker *w, const struct verdict *v, enum trace_mode ran) {
    if (ran != TRACE_NEVER || w->options.trace == TRACE_NEVER) return false;
    return w->options.trace == TRACE_ALWAYS || v->level >= 2 ||
           (double)(v->p_level[3] + v->p_level[4]) >= trace_p_urgent;
}

static void row_fill(struct worker *w, struct store_verdict *row, const struct batch_item *item,
                     enum trace_mode mode) {
    const struct verdict *v = &item->verdict;
    *row = (struct store_verdict){.message_seq = item->message_seq,
                                  .state = STORE_FAILED,
                                  .level = -1,
                                  .judged_ms = clock_realtime_ms()};
    if (!item->judged) return;
    row->state = trace_is_due(w, v, mode) ? STORE_TRACE_DUE : STORE_JUDGED;
    row->level = v->level;
    row->class_name = label_classes[v->class_i];
    row->line = v->line;
    row->station = v->station;
    row->p_urgent = (double)(v->p_level[3] + v->p_level[4]);
    for (int i = 0; i < N_DISTRESS - 1; i++) // the last is anger, which is not distress
        if (v->distress[i] > row->distress) row->distress = v->distress[i];
}

// Writes the batch; while the store refuses, waits: the model has nothing better to do and nothing
// is lost.
static bool batch_store(struct worker *w, int64_t n) {
    for (bool failing = false;;) {
        struct store_write write = {.verdicts = w->rows, .n_verdicts = n};
        struct error err = {0};
        if (store_write_sync(w->options.store, &write, &err)) {
            if (failing) w->options.store_failing(w->options.context, NULL);
            return true;
        }
        if (!failing)
            log_error("worker", "n=%lld error=\"%s\" then=retry_every_s", (long long)n, err.text);
        failing = true;
        w->options.store_failing(w->options.context, &err);
        worker_pause(w, 1000);
        if (worker_closing(w)) return false; // the messages are still there without a verdict
    }
}

static void batch_publish(struct worker *w, int64_t n, bool first) {
    for (int64_t i = 0; i < n; i++) {
        const struct batch_item *item = &w->items[i];
        w->judged[i] = (struct worker_judged){
            .message_seq = item->message_seq,
            .seq = w->rows[i].seq,
            .latency_s = (double)(w->rows[i].judged_ms - item->received_ms) / 1000,
            .level = w->rows[i].level,
            .first = first,
            .traced = item->verdict.why_for != NULL,
        };
    }
    w->options.judged(w->options.context, w->judged, n);
}

// Judges what is due in `state`, at most n_max messages. Returns how many there were.
static int64_t batch_run(struct worker *w, enum store_state state, int64_t n_max) {
    struct collect collect = {.worker = w};
    struct error err = {0};
    struct buf json = {0};
    enum trace_mode mode = state == STORE_RECEIVED ? TRACE_NEVER : w->options.trace;
    arena_init(&w->arena, 0);
    if (!store_due(w->options.store, state, n_max, batch_add, &collect, &err)) {
        log_error("worker", "error=\"%s\"", err.text);
        worker_pause(w, 1000);
    }
    int64_t n = collect.n;
    if (n > 0) {
        batch_judge(w, n, mode);
        for (int64_t i = 0; i < n; i++) {
            struct batch_item *item = &w->items[i];
            row_fill(w, &w->rows[i], item, mode);
            item->json_offset = json.n_bytes;
            if (item->judged)
                verdict_append_json(&json, &item->message, &item->verdict,
                                    w->options.judge.model_name, w->options.judge.model_sha256);
            else verdict_append_error_json(&json, item->message.id, &item->err);
            buf_append_char(&json, '\0');
        }
        bool ok = buf_ok(&json);
        for (int64_t i = 0; ok && i < n; i++) w->rows[i].json = json.data + w->items[i].json_offset;
        if (!ok) log_error("worker", "error=\"out of memory for verdicts\"");
        if (ok && batch_store(w, n)) batch_publish(w, n, state == STORE_RECEIVED);
    }
    for (int64_t i = 0; i < n; i++) verdict_release(&w->items[i].verdict);
    buf_release(&json);
    arena_release(&w->arena);
    return n;
}

// --- chat ---

static struct chat_job *chat_take(struct worker *w) {
    pthread_mutex_lock(&w->mu);
    struct chat_job *job = w->chat_head;
    if (job != NULL) {
        w->chat_head = job->next;
        if (w->chat_head == NULL) w->chat_tail = &w->chat_head;
        w->n_chat--;
    }
    pthread_mutex_unlock(&w->mu);
    return job;
}

static void chat_end(struct worker *w, struct chat_job *job, enum generator_step end,
                     const struct error *err) {
    (void)w;
    chat_job_finish(job, end, err);
    job->progress(job);
    chat_job_unref(job);
}

static bool chat_begin(struct worker *w) {
    struct generator *g = &w->options.generator;
    while (w->chat == NULL) {
        struct chat_job *job = chat_take(w);
        struct error err = {0};
        if (job == NULL) return false;
        int64_t prompt_tokens = 0;
        if (chat_job_cancelled(job)) {
            chat_end(w, job, GENERATOR_STOP, NULL);
        } else if (g->begin(g->context, &job->request, &prompt_tokens, &err)) {
            pthread_mutex_lock(&job->mu);
            job->prompt_tokens = prompt_tokens;
            pthread_mutex_unlock(&job->mu);
            w->chat = job;
        } else {
            g->end(g->context);
            chat_end(w, job, GENERATOR_FAILED, &err);
        }
    }
    return true;
}

// A few tokens of the request at hand. false when there is none.
static bool chat_turn(struct worker *w) {
    if (w->options.generator.begin == NULL || !chat_begin(w)) return false;
    struct generator *g = &w->options.generator;
    struct chat_job *job = w->chat;
    struct buf text = {0};
    struct error err = {0};
    int64_t n_generated = 0;
    enum generator_step step = GENERATOR_STOP;
    if (!chat_job_cancelled(job))
        step = g->step(g->context, CHAT_TOKENS_A_TURN, &text, &n_generated, &err);
    pthread_mutex_lock(&job->mu);
    job->completion_tokens += n_generated;
    pthread_mutex_unlock(&job->mu);
    if (step != GENERATOR_FAILED && text.n_bytes > 0 && !chat_job_add(job, text.data, text.n_bytes))
        step = GENERATOR_STOP;
    if (step == GENERATOR_MORE) {
        job->progress(job);
    } else {
        g->end(g->context);
        w->chat = NULL;
        chat_end(w, job, step, step == GENERATOR_FAILED ? &err : NULL);
    }
    buf_release(&text);
    return true;
}

static void chat_refuse_all(struct worker *w) {
    struct error err = {0};
    error_set(&err, ERR_STATE, "the server is shutting down");
    if (w->chat != NULL) {
        w->options.generator.end(w->options.generator.context);
        chat_end(w, w->chat, GENERATOR_FAILED, &err);
        w->chat = NULL;
    }
    for (struct chat_job *job; (job = chat_take(w)) != NULL;)
        chat_end(w, job, GENERATOR_FAILED, &err);
}

// --- the thread ---

static void *worker_main(void *context) {
    struct worker *w = context;
    while (!worker_closing(w)) {
        pthread_mutex_lock(&w->mu);
        w->woken = false;
        pthread_mutex_unlock(&w->mu);
        busy_mark(w, true);
        struct store_counts counts;
        store_counts(w->options.store, &counts);
        int64_t n = counts.received > 0 ? batch_run(w, STORE_RECEIVED, w->n_batch) : 0;
        if (counts.received == 0 && counts.trace_due > 0)
            n = batch_run(w, STORE_TRACE_DUE, min_i64(TRACES_A_TURN, w->n_batch));
        bool chatted = chat_turn(w);
        busy_mark(w, false);
        if (n > 0 || chatted) continue;
        pthread_mutex_lock(&w->mu);
        while (!w->woken && !w->closing && w->chat_head == NULL)
            pthread_cond_wait(&w->cond, &w->mu);
        pthread_mutex_unlock(&w->mu);
    }
    chat_refuse_all(w);
    pthread_mutex_lock(&w->mu);
    w->stopped = true;
    pthread_mutex_unlock(&w->mu);
    return NULL;
}

bool worker_open(struct worker **out, const struct worker_options *options, struct error *err) {
    *out = NULL;
    struct worker *w = calloc(1, sizeof *w);
    if (w == NULL) return error_set(err, ERR_NOMEM, "worker: out of memory");
    w->options = *options;
    w->n_batch = max_i64(options->judge.n_batch, 1);
    w->chat_tail = &w->chat_head;
    w->woken = true; // what the last run left unjudged comes first
    pthread_mutex_init(&w->mu, NULL);
    pthread_cond_init(&w->cond, NULL);
    size_t n = (size_t)w->n_batch;
    w->items = calloc(n, sizeof *w->items);
    w->messages = calloc(n, sizeof *w->messages);
    w->verdicts = calloc(n, sizeof *w->verdicts);
    w->rows = calloc(n, sizeof *w->rows);
    w->judged = calloc(n, sizeof *w->judged);
    int status = 0;
    if (w->items == NULL || w->messages == NULL || w->verdicts == NULL || w->rows == NULL ||
        w->judged == NULL)
        error_set(err, ERR_NOMEM, "worker: out of memory");
    else if ((status = pthread_create(&w->thread, NULL, worker_main, w)) != 0)
        error_set(err, ERR_IO, "worker: cannot start a thread: %s", strerror(status));
    else w->running = true;
    if (!w->running) {
        worker_close(w);
        return false;
    }
    *out = w;
    return true;
}

void worker_stop(struct worker *w) {
    if (!w->running) return;
    pthread_mutex_lock(&w->mu);
    w->closing = true;
    pthread_cond_broadcast(&w->cond);
    pthread_mutex_unlock(&w->mu);
    pthread_join(w->thread, NULL);
    w->running = false;
}

void worker_close(struct worker *w) {
    if (w == NULL) return;
    worker_stop(w);
    pthread_cond_destroy(&w->cond);
    pthread_mutex_destroy(&w->mu);
    free(w->items);
    free(w->messages);
    free(w->verdicts);
    free(w->rows);
    free(w->judged);
    free(w);
}

void worker_wake(struct worker *w) {
    pthread_mutex_lock(&w->mu);
    w->woken = true;
    pthread_cond_signal(&w->cond);
    pthread_mutex_unlock(&w->mu);
}

bool worker_chat(struct worker *w, struct chat_job *job, struct error *err) {
    pthread_mutex_lock(&w->mu);
    bool ok = !w->closing && w->n_chat < CHAT_QUEUE;
    bool closing = w->closing;
    if (ok) {
        job->next = NULL;
        *w->chat_tail = chat_job_ref(job);
        w->chat_tail = &job->next;
        w->n_chat++;
        pthread_cond_signal(&w->cond);
    }
    pthread_mutex_unlock(&w->mu);
    if (closing) return error_set(err, ERR_STATE, "the server is shutting down");
    return ok || error_set(err, ERR_LIMIT, "%d chat requests are waiting already, try again later",
                           CHAT_QUEUE);
}

enum worker_health worker_health(struct worker *w) {
    pthread_mutex_lock(&w->mu);
    enum worker_health health = WORKER_OK;
    if (w->stopped) health = WORKER_STOPPED;
    else if (w->n_failures > 0) health = WORKER_FAILING;
    else if (w->busy_since_ns > 0 &&
             clock_monotonic_ns() - w->busy_since_ns > (int64_t)STUCK_S * 1000000000)
        health = WORKER_STUCK;
    pthread_mutex_unlock(&w->mu);
    return health;
}

const char *worker_health_name(enum worker_health health) {
    static const char *const names[] = {"ok", "failing", "stuck", "stopped"};
    return names[health];
}
