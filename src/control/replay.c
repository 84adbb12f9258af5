// control/replay.c - the exercise player.
#include "control/replay.h"

#include "core/clock.h"
#include "core/file.h"
#include "core/json.h"
#include "core/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct event {
    double t;
    int64_t order; // in the file: events of one time keep it
    struct body_item item;
};

struct replay {
    struct control *control;
    char path[1024];
    double speed;
    struct arena arena;
    struct event *events;
    int64_t n;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    bool closing, running; // closing: guarded by mu
    pthread_t thread;
};

static bool event_read(struct replay *r, const char *line, size_t n_bytes, int64_t line_i,
                       int64_t started_ms, struct error *err) {
    char name[1100], id[400];
    struct event *e = &r->events[r->n];
    json_t *root = NULL;
    snprintf(name, sizeof name, "%s line %lld", r->path, (long long)line_i);
    snprintf(id, sizeof id, "line-%lld", (long long)line_i);
    *e = (struct event){.order = line_i, .item = {.line = line_i}};
    bool ok = json_parse(&root, line, n_bytes, name, err) &&
              json_get_f64(&e->t, root, "t", true, name, err);
    json_decref(root);
    if (!ok) return false;
    if (!(e->t >= 0 && e->t < 1e9))
        return error_set(err, ERR_INPUT, "%s: \"t\" is %g seconds", name, e->t);
    if (!message_parse(&e->item.message, &r->arena, line, n_bytes, id, err))
        return error_wrap(err, "%s", name);
    snprintf(id, sizeof id, "ex%llx-%s", (unsigned long long)started_ms, e->item.message.id);
    e->item.message.id = arena_strndup(&r->arena, id, strlen(id));
    e->item.message.received_at = NULL; // the played day's, not today's
    if (!arena_ok(&r->arena)) return error_set(err, ERR_NOMEM, "%s: out of memory", name);
    r->n++;
    return true;
}

static int event_compare(const void *a, const void *b) {
    const struct event *x = a, *y = b;
    if (x->t != y->t) return x->t < y->t ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static bool events_read(struct replay *r, struct error *err) {
    char *text;
    size_t n_bytes;
    if (!file_read(&text, &n_bytes, r->path, (size_t)256 << 20, err)) return false;
    int64_t n_lines = 1, line_i = 1, started_ms = clock_realtime_ms();
    for (size_t i = 0; i < n_bytes; i++) n_lines += text[i] == '\n';
    r->events = calloc((size_t)n_lines, sizeof *r->events);
    bool ok = r->events != NULL || error_set(err, ERR_NOMEM, "%s: out of memory", r->path);
    for (char *line = text; ok && line < text + n_bytes; line_i++) {
        char *end = memchr(line, '\n', (size_t)(text + n_bytes - line));
        size_t n = end != NULL ? (size_t)(end - line) : (size_t)(text + n_bytes - line);
        if (strspn(line, " \t\r") < n) ok = event_read(r, line, n, line_i, started_ms, err);
        line += n + 1;
    }
    free(text);
    if (ok && r->n == 0) return error_set(err, ERR_INPUT, "%s: no message", r->path);
    if (ok) qsort(r->events, (size_t)r->n, sizeof *r->events, event_compare);
    return ok;
}

// Sleeps until `at_ns` of the monotonic clock. false: closing.
static bool replay_sleep(struct replay *r, int64_t at_ns) {
    struct timespec until = {.tv_sec = at_ns / 1000000000, .tv_nsec = at_ns % 1000000000};
    pthread_mutex_lock(&r->mu);
    while (!r->closing && clock_monotonic_ns() < at_ns)
        pthread_cond_timedwait(&r->cond, &r->mu, &until);
    bool closing = r->closing;
    pthread_mutex_unlock(&r->mu);
    return !closing;
}

static void *replay_main(void *context) {
    struct replay *r = context;
    int64_t start_ns = clock_monotonic_ns();
    log_info("replay", "file=%s messages=%lld speed=%g", r->path, (long long)r->n, r->speed);
    for (int64_t i = 0; i < r->n;) {
        struct error err = {0};
        int64_t at_ns = start_ns + (int64_t)(r->events[i].t / r->speed * 1e9);
        if (!replay_sleep(r, at_ns)) return NULL;
        if (control_submit(r->control, &r->events[i].item, 1, true, &err)) {
            i++;
            continue;
        }
        log_warn("replay", "id=%s error=\"%s\" then=retry", r->events[i].item.message.id, err.text);
        if (!replay_sleep(r, clock_monotonic_ns() + 1000000000)) return NULL;
    }
    log_info("replay", "file=%s done=%lld", r->path, (long long)r->n);
    return NULL;
}

bool replay_open(struct replay **out, struct control *control, const char *path, double speed,
                 struct error *err) {
    *out = NULL;
    if (!(speed > 0 && speed <= 1e6))
        return error_set(err, ERR_USAGE, "replay speed %g: must be above 0", speed);
    struct replay *r = calloc(1, sizeof *r);
    if (r == NULL) return error_set(err, ERR_NOMEM, "replay: out of memory");
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&r->cond, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&r->mu, NULL);
    arena_init(&r->arena, 0);
    r->control = control;
    r->speed = speed;
    snprintf(r->path, sizeof r->path, "%s", path);
    int status = 0;
    if (!events_read(r, err)) goto fail;
    if ((status = pthread_create(&r->thread, NULL, replay_main, r)) != 0) {
        error_set(err, ERR_IO, "replay: cannot start a thread: %s", strerror(status));
        goto fail;
    }
    r->running = true;
    *out = r;
    return true;
fail:
    replay_close(r);
    return false;
}

void replay_close(struct replay *r) {
    if (r == NULL) return;
    if (r->running) {
        pthread_mutex_lock(&r->mu);
        r->closing = true;
        pthread_cond_signal(&r->cond);
        pthread_mutex_unlock(&r->mu);
        pthread_join(r->thread, NULL);
    }
    pthread_cond_destroy(&r->cond);
    pthread_mutex_destroy(&r->mu);
    arena_release(&r->arena);
    free(r->events);
    free(r);
}
