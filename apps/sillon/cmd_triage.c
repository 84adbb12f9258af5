// apps/sillon/cmd_triage.c - `sillon triage`: NDJSON messages in, NDJSON verdicts out, same order, one line for one.
// Reads whatever is there up to a batch and answers it: a pipe that trickles gets each verdict at once, a file goes in
// full batches. A bad line gets an error line in its place and the rest goes on.
#include "command.h"

#include "core/clock.h"
#include "core/log.h"
#include "triage/triage.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char help[] =
    "usage: sillon triage [OPTION...] < messages.ndjson > verdicts.ndjson\n"
    "One JSON line in ({\"id\",\"text\"[,\"received_at\",\"channel\",\"author\"]}), one JSON line out, in the same order.\n"
    "A line that cannot be judged gives {\"id\",\"error\":{\"code\",\"message\"}}.\n\n"
    "  --model FOLDER    model folder (default: the shipped models/default, or $SILLON_MODEL)\n"
    "  --trace MODE      auto (U2 and above, or in doubt), always, never     [auto]\n"
    "  --batch N         messages judged together, 1..256                    [16]\n"
    "  --weights TYPE    f32, bf16 or int8                                   [f32]\n"
    "  --threads N       threads, 0 = all processors                         [0]\n"
    "  --gazetteer FILE  stations, TSV                                       [data/gazetteer.tsv]\n"
    "  --timing          print p50 and p95 of receipt to verdict to stderr\n"
    "exit status: 0 every line answered (errors included), 1 failed, 2 wrong usage\n";

// Lines from a file descriptor; remembers what was read past the last newline.
struct reader {
    int fd;
    char *data;
    size_t begin, end, capacity;
    bool eof, skipping; // skipping: inside a line over the limit
};

enum { READER_BYTES = 2 * MESSAGE_LINE_LIMIT_BYTES };

enum line_state { LINE_READY, LINE_TOO_LONG, LINE_NONE_YET, LINE_EOF, LINE_FAILED };

static ssize_t reader_fill(struct reader *r) {
    if (r->begin > 0) {
        memmove(r->data, r->data + r->begin, r->end - r->begin);
        r->end -= r->begin;
        r->begin = 0;
    }
    ssize_t n;
    do n = read(r->fd, r->data + r->end, r->capacity - r->end);
    while (n < 0 && errno == EINTR);
    if (n == 0) r->eof = true;
    if (n > 0) r->end += (size_t)n;
    return n;
}

// The next line, without its newline. wait = false: only what can be had without blocking.
static enum line_state reader_line(struct reader *r, bool wait, const char **line, size_t *n_bytes) {
    for (;;) {
        char *start = r->data + r->begin, *newline = memchr(start, '\n', r->end - r->begin);
        if (newline == NULL && r->eof && r->end > r->begin) newline = r->data + r->end; // a last line without one
        if (newline != NULL) {
            *line = start;
            *n_bytes = (size_t)(newline - start);
            r->begin = (size_t)(newline - r->data) + (newline < r->data + r->end);
            if (*n_bytes > 0 && start[*n_bytes - 1] == '\r') --*n_bytes;
            bool skipped = r->skipping;
            r->skipping = false;
            return skipped ? LINE_TOO_LONG : LINE_READY;
        }
        if (r->eof && r->skipping) { // the end of a line that filled the buffer and was dropped
            r->skipping = false;
            *line = start;
            *n_bytes = 0;
            return LINE_TOO_LONG;
        }
        if (r->eof) return LINE_EOF;
        if (r->end - r->begin >= r->capacity) { // no newline in all of the buffer: drop it, remember
            r->skipping = true;
            r->begin = r->end = 0;
        }
        if (!wait) {
            struct pollfd p = {.fd = r->fd, .events = POLLIN};
            if (poll(&p, 1, 0) <= 0) return LINE_NONE_YET;
        }
        if (reader_fill(r) < 0) return LINE_FAILED;
    }
}

struct item {
    struct message message;
    struct error err;
    bool ok;
    int64_t received_ns;
};

struct job {
    struct triage *triage;
    enum trace_mode mode;
    int64_t n_batch, n_lines, n_errors, n_items;
    struct item *items;         // [n_batch]
    struct message *good;       // [n_batch]
    struct verdict *verdicts;   // [n_batch]
    struct arena arena;         // of the batch's strings
    float *latency_ms;          // of every message, when timing
    int64_t n_latency, latency_capacity;
    bool timing;
};

static void remember_latency(struct job *job, float ms) {
    if (!job->timing) return;
    if (job->n_latency == job->latency_capacity) {
        int64_t capacity = job->latency_capacity ? 2 * job->latency_capacity : 1024;
        float *grown = realloc(job->latency_ms, (size_t)capacity * sizeof *grown);
        if (grown == NULL) return;
        job->latency_ms = grown;
        job->latency_capacity = capacity;
    }
    job->latency_ms[job->n_latency++] = ms;
}

// Judges and writes the batch. False when the machine or stdout fails.
static bool batch_finish(struct job *job, struct error *err) {
    int64_t n_good = 0, start = clock_monotonic_ns();
    for (int64_t i = 0; i < job->n_items; i++)
        if (job->items[i].ok) job->good[n_good++] = job->items[i].message;
    if (n_good > 0 && !triage_run(job->triage, job->good, n_good, job->mode, job->verdicts, err)) return false;
    struct buf out = {0};
    int64_t now = clock_monotonic_ns();
    for (int64_t i = 0, g = 0; i < job->n_items; i++) {
        struct item *item = &job->items[i];
        if (item->ok) {
            struct verdict *v = &job->verdicts[g++];
            v->queue_ms = (float)(start - item->received_ns) * 1e-6f;
            verdict_append_json(&out, &item->message, v, triage_model_name(job->triage),
                                triage_model_sha256(job->triage));
            verdict_release(v);
            remember_latency(job, (float)(now - item->received_ns) * 1e-6f);
        } else {
            verdict_append_error_json(&out, item->message.id, &item->err);
            job->n_errors++;
        }
        buf_append_char(&out, '\n');
    }
    bool ok = buf_ok(&out) || error_set(err, ERR_NOMEM, "out of memory for the verdicts");
    for (size_t done = 0; ok && done < out.n_bytes;) {
        ssize_t n = write(STDOUT_FILENO, out.data + done, out.n_bytes - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) ok = error_set(err, ERR_IO, "stdout: %s (verdicts of the last batch are not all written)", strerror(errno));
        else done += (size_t)n;
    }
    buf_release(&out);
    job->n_items = 0;
    arena_release(&job->arena);
    return ok;
}

static void batch_add(struct job *job, const char *line, size_t n_bytes, bool too_long) {
    struct item *item = &job->items[job->n_items];
    *item = (struct item){.received_ns = clock_monotonic_ns()};
    char name[32];
    job->n_lines++;
    snprintf(name, sizeof name, "line-%lld", (long long)job->n_lines);
    if (n_bytes == 0 && !too_long) return; // an empty line is nothing
    if (too_long) {
        item->message.id = arena_strndup(&job->arena, name, strlen(name));
        if (item->message.id == NULL) item->message.id = "";
        error_set(&item->err, ERR_LIMIT, "%s: longer than the limit of %d bytes", name, MESSAGE_LINE_LIMIT_BYTES);
    } else {
        item->ok = message_parse(&item->message, &job->arena, line, n_bytes, name, &item->err);
    }
    job->n_items++;
}

static bool triage_stream(struct job *job, struct reader *reader, struct error *err) {
    for (;;) {
        const char *line;
        size_t n_bytes;
        switch (reader_line(reader, job->n_items == 0, &line, &n_bytes)) {
        case LINE_READY: batch_add(job, line, n_bytes, false); break;
        case LINE_TOO_LONG: batch_add(job, line, n_bytes, true); break;
        case LINE_NONE_YET:
            if (!batch_finish(job, err)) return false;
            continue;
        case LINE_EOF: return batch_finish(job, err);
        case LINE_FAILED: { // what was read is answered first
            int why = errno;
            return batch_finish(job, err) && error_set(err, ERR_IO, "stdin: %s", strerror(why));
        }
        }
        if (job->n_items == job->n_batch && !batch_finish(job, err)) return false;
    }
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return x < y ? -1 : x > y;
}

static void print_timing(struct job *job, int64_t start_ns) {
    if (!job->timing || job->n_latency == 0) return;
    qsort(job->latency_ms, (size_t)job->n_latency, sizeof *job->latency_ms, by_value);
    double seconds = (double)(clock_monotonic_ns() - start_ns) * 1e-9;
    fprintf(stderr, "messages=%lld errors=%lld p50_ms=%.1f p95_ms=%.1f max_ms=%.1f messages_per_s=%.1f\n",
            (long long)job->n_latency, (long long)job->n_errors, (double)job->latency_ms[job->n_latency / 2],
            (double)job->latency_ms[job->n_latency * 95 / 100], (double)job->latency_ms[job->n_latency - 1],
            (double)job->n_latency / seconds);
}

int cmd_triage(int argc, char **argv) {
    static const struct option options[] = {
        {"model", required_argument, NULL, 'm'},   {"trace", required_argument, NULL, 't'},
        {"batch", required_argument, NULL, 'b'},   {"threads", required_argument, NULL, 'j'},
        {"gazetteer", required_argument, NULL, 'g'}, {"weights", required_argument, NULL, 'w'},
        {"timing", no_argument, NULL, 'T'},
        {"help", no_argument, NULL, 'h'},          {0}};
    const char *model = NULL, *gazetteer = NULL;
    enum trace_mode mode = TRACE_AUTO;
    enum weight_type weights = WEIGHT_F32;
    int64_t n_batch = 16, n_threads = 0;
    struct error err = {0};
    struct job job = {0};
    int c;
    while ((c = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        bool ok = true;
        switch (c) {
        case 'm': model = optarg; break;
        case 'g': gazetteer = optarg; break;
        case 't':
            ok = trace_mode_parse(&mode, optarg) ||
                 error_set(&err, ERR_USAGE, "--trace %s: auto, always or never was expected", optarg);
            break;
        case 'b': ok = command_number(&n_batch, "--batch", optarg, 1, 256, &err); break;
        case 'w': ok = command_weights(&weights, optarg, &err); break;
        case 'j': ok = command_number(&n_threads, "--threads", optarg, 0, 1024, &err); break;
        case 'T': job.timing = true; break;
        case 'h': fputs(help, stdout); return EXIT_DONE;
        default: return EXIT_USAGE;
        }
        if (!ok) return command_fail("triage", &err);
    }
    if (optind < argc) {
        error_set(&err, ERR_USAGE, "unexpected argument \"%s\" (messages come on stdin)", argv[optind]);
        return command_fail("triage", &err);
    }
    char model_path[4096], gazetteer_path[4096];
    if (!command_model(model_path, sizeof model_path, model, &err)) return command_fail("triage", &err);
    if (gazetteer == NULL && command_find(gazetteer_path, sizeof gazetteer_path, "data/gazetteer.tsv"))
        gazetteer = gazetteer_path;
    struct reader reader = {.fd = STDIN_FILENO, .capacity = READER_BYTES};
    struct triage_options to = {model_path, gazetteer, (int)n_threads, n_batch, weights};
    job.mode = mode;
    job.n_batch = n_batch;
    bool ok = triage_open(&job.triage, &to, &err);
    int64_t start_ns = clock_monotonic_ns();
    if (ok) {
        reader.data = malloc(READER_BYTES + 1);
        job.items = calloc((size_t)n_batch, sizeof *job.items);
        job.good = calloc((size_t)n_batch, sizeof *job.good);
        job.verdicts = calloc((size_t)n_batch, sizeof *job.verdicts);
        ok = (reader.data != NULL && job.items != NULL && job.good != NULL && job.verdicts != NULL) ||
             error_set(&err, ERR_NOMEM, "out of memory");
    }
    ok = ok && triage_stream(&job, &reader, &err);
    if (ok) print_timing(&job, start_ns);
    free(reader.data);
    free(job.items);
    free(job.good);
    free(job.verdicts);
    free(job.latency_ms);
    arena_release(&job.arena);
    triage_close(job.triage);
    return ok ? EXIT_DONE : command_fail("triage", &err);
}
