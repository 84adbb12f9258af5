// control/api_read.c - what can be asked: verdicts, one message, statistics, health, metrics.
#include "control/control_internal.h"

#include "core/clock.h"
#include "core/log.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void stamp_append(struct buf *out, const char *key, int64_t unix_ms) {
    char stamp[CLOCK_STAMP_BYTES];
    clock_stamp(stamp, unix_ms);
    buf_printf(out, "\"%s\":\"%s\"", key, stamp);
}

static void string_append(struct buf *out, const char *key, const char *value) {
    buf_printf(out, "\"%s\":", key);
    if (value == NULL) buf_append_str(out, "null");
    else buf_append_json_string(out, value, strlen(value));
}

void row_append(struct buf *out, const struct store_row *row) {
    size_t n = strlen(row->verdict_json);
    buf_append(out, row->verdict_json, n > 0 ? n - 1 : 0); // without its closing brace
    buf_printf(out, ",\"seq\":%lld,", (long long)row->verdict_seq);
    stamp_append(out, "received_at", row->received_ms);
    buf_append_str(out, ",\"text\":");
    buf_append_json_string(out, row->text, row->text_bytes);
    buf_append_char(out, ',');
    string_append(out, "channel", row->channel);
    if (row->sent_at != NULL) {
        buf_append_char(out, ',');
        string_append(out, "sent_at", row->sent_at);
    }
    buf_printf(out, ",\"exercise\":%s}", row->exercise ? "true" : "false");
}

static enum request_next fail(struct request *r, const struct error *err) {
    log_error("http", "path=%s error=\"%s\"", r->path, err->text);
    request_error(r, 503, err->code, "%s", err->text);
    return NEXT_ANSWER;
}

// --- verdicts ---

struct verdict_list {
    struct buf *out;
    int64_t n, last_seq;
};

static bool verdict_add(void *context, const struct store_row *row) {
    struct verdict_list *list = context;
    if (list->n++ > 0) buf_append_char(list->out, ',');
    row_append(list->out, row);
    list->last_seq = row->verdict_seq;
    return buf_ok(list->out);
}

enum request_next api_verdicts(struct request *r) {
    struct control *c = r->control;
    int64_t since = -1, limit = 100;
    int level;
    struct error err = {0};
    if (!request_query_i64(r, "since", 0, INT64_MAX, &since) ||
        !request_query_i64(r, "limit", 1, 1000, &limit) || !request_query_level(r, &level))
        return NEXT_ANSWER;
    struct store_counts counts; // before the query: nothing that comes meanwhile is stepped over
    store_counts(c->options.store, &counts);
    struct verdict_list list = {.out = &r->reply};
    buf_append_str(&r->reply, "{\"verdicts\":[");
    bool ok = since < 0
                  ? store_verdicts_last(c->options.store, level, limit, verdict_add, &list, &err)
                  : store_verdicts(c->options.store, since, level, limit, verdict_add, &list, &err);
    if (!ok) return fail(r, &err);
    int64_t next =
        list.n < limit || since < 0 ? max_i64(counts.last_seq, list.last_seq) : list.last_seq;
    buf_printf(&r->reply, "],\"next\":%lld}", (long long)max_i64(next, since));
    r->status = 200;
    return NEXT_ANSWER;
}

static bool message_add(void *context, const struct store_row *row) {
    static const char *const states[] = {"received", "judged", "trace_due", "failed"};
    struct buf *out = context;
    buf_append_char(out, '{');
    string_append(out, "id", row->id);
    buf_append_str(out, ",\"text\":");
    buf_append_json_string(out, row->text, row->text_bytes);
    buf_append_char(out, ',');
    string_append(out, "channel", row->channel);
    buf_append_char(out, ',');
    string_append(out, "author", row->author);
    buf_append_char(out, ',');
    stamp_append(out, "received_at", row->received_ms);
    buf_append_char(out, ',');
    string_append(out, "sent_at", row->sent_at);
    buf_printf(out,
               ",\"exercise\":%s,\"state\":\"%s\",\"verdict\":", row->exercise ? "true" : "false",
               states[row->state]);
    if (row->verdict_json != NULL) row_append(out, row);
    else buf_append_str(out, "null");
    buf_append_char(out, '}');
    return true;
}

enum request_next api_message(struct request *r) {
    struct error err = {0};
    const char *id = r->path + strlen(r->route->path);
    r->status = 200;
    if (store_find(r->control->options.store, id, message_add, &r->reply, &err)) return NEXT_ANSWER;
    if (err.code != ERR_NOTFOUND) return fail(r, &err);
    request_error(r, 404, err.code, "%s", err.text);
    return NEXT_ANSWER;
}

// --- statistics ---

struct line_stats {
    char *name;
    double urgency_sum;
    double *n, *urgency, *distress; // [minutes]; distress: sum, then mean
};

struct stats {
    int64_t first, n_minutes; // minutes since 1970
    int64_t *levels[N_LEVELS];
    struct line_stats *lines;
    int64_t n_lines, capacity;
    struct arena arena;
};

static struct line_stats *line_find(struct stats *s, const char *name) {
    for (int64_t i = 0; i < s->n_lines; i++)
        if (strcmp(s->lines[i].name, name) == 0) return &s->lines[i];
    if (s->n_lines == s->capacity) return NULL;
    struct line_stats *line = &s->lines[s->n_lines];
    line->name = arena_strndup(&s->arena, name, strlen(name));
    line->n = arena_alloc_array(&s->arena, (size_t)s->n_minutes, 3 * sizeof *line->n);
    if (!arena_ok(&s->arena)) return NULL;
    line->urgency = line->n + s->n_minutes;
    line->distress = line->urgency + s->n_minutes;
    s->n_lines++;
    return line;
}

static void minute_add(void *context, const struct store_minute *group) {
    struct stats *s = context;
    int64_t i = group->minute - s->first;
    if (i < 0 || i >= s->n_minutes || group->level >= N_LEVELS) return;
    s->levels[group->level][i] += group->n;
    struct line_stats *line = line_find(s, group->line);
    if (line == NULL) return;
    line->n[i] += (double)group->n;
    line->urgency[i] += group->p_urgent_sum;
    line->distress[i] += group->distress_sum;
    line->urgency_sum += group->p_urgent_sum;
}

// Most urgency first; then by name, so that the order does not flicker.
static int line_compare(const void *a, const void *b) {
    const struct line_stats *x = a, *y = b;
    if (x->urgency_sum != y->urgency_sum) return x->urgency_sum > y->urgency_sum ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void line_append(struct buf *out, const struct line_stats *line, int64_t n) {
    buf_append_str(out, "{\"line\":");
    buf_append_json_string(out, line->name, strlen(line->name));
    buf_append_str(out, ",\"n\":[");
    for (int64_t i = 0; i < n; i++) buf_printf(out, "%s%.0f", i ? "," : "", line->n[i]);
    buf_append_str(out, "],\"urgency\":[");
    for (int64_t i = 0; i < n; i++) buf_printf(out, "%s%.4g", i ? "," : "", line->urgency[i]);
    buf_append_str(out, "],\"distress\":[");
    for (int64_t i = 0; i < n; i++)
        buf_printf(out, "%s%.4g", i ? "," : "",
                   line->n[i] > 0 ? line->distress[i] / line->n[i] : 0.0);
    buf_append_str(out, "]}");
}

// Puts the lines past `n_lines` together in one, "*".
static void lines_fold(struct stats *s, int64_t n_lines) {
    qsort(s->lines, (size_t)s->n_lines, sizeof *s->lines, line_compare);
    if (s->n_lines <= n_lines + 1) return;
    struct line_stats *rest = &s->lines[n_lines];
    for (int64_t k = n_lines + 1; k < s->n_lines; k++) {
        for (int64_t i = 0; i < s->n_minutes; i++) {
            rest->n[i] += s->lines[k].n[i];
            rest->urgency[i] += s->lines[k].urgency[i];
            rest->distress[i] += s->lines[k].distress[i];
        }
    }
    rest->name = arena_strndup(&s->arena, "*", 1);
    s->n_lines = n_lines + 1;
}

static void stats_append(struct buf *out, const struct stats *s) {
    buf_append_char(out, '{');
    stamp_append(out, "from", s->first * 60000);
    buf_append_char(out, ',');
    stamp_append(out, "to", (s->first + s->n_minutes) * 60000);
    buf_append_str(out, ",\"minutes\":[");
    for (int64_t i = 0; i < s->n_minutes; i++)
        buf_printf(out, "%s%lld", i ? "," : "", (long long)(s->first + i) * 60);
    buf_append_str(out, "],\"levels\":{");
    for (int level = 0; level < N_LEVELS; level++) {
        buf_printf(out, "%s\"%s\":[", level ? "," : "", label_levels[level]);
        for (int64_t i = 0; i < s->n_minutes; i++)
            buf_printf(out, "%s%lld", i ? "," : "", (long long)s->levels[level][i]);
        buf_append_char(out, ']');
    }
    buf_append_str(out, "},\"lines\":[");
    for (int64_t i = 0; i < s->n_lines; i++) {
        if (i > 0) buf_append_char(out, ',');
        line_append(out, &s->lines[i], s->n_minutes);
    }
    buf_append_str(out, "]}");
}

enum request_next api_stats(struct request *r) {
    int64_t hours = 3, n_lines = 12;
    struct error err = {0};
    if (!request_query_i64(r, "hours", 1, 24, &hours) ||
        !request_query_i64(r, "lines", 1, 64, &n_lines))
        return NEXT_ANSWER;
    struct stats s = {.n_minutes = hours * 60, .capacity = 512};
    s.first = clock_realtime_ms() / 60000 + 1 - s.n_minutes; // the minute under way is the last
    arena_init(&s.arena, (size_t)64 << 20);
    for (int level = 0; level < N_LEVELS; level++)
        s.levels[level] = arena_alloc_array(&s.arena, (size_t)s.n_minutes, sizeof(int64_t));
    s.lines = arena_alloc_array(&s.arena, (size_t)s.capacity, sizeof *s.lines);
    bool ok = arena_ok(&s.arena) || error_set(&err, ERR_NOMEM, "statistics: out of memory");
    ok = ok && store_minutes(r->control->options.store, s.first * 60000, minute_add, &s, &err);
    if (ok) lines_fold(&s, n_lines);
    ok = ok && (arena_ok(&s.arena) || error_set(&err, ERR_NOMEM, "statistics: out of memory"));
    if (ok) stats_append(&r->reply, &s);
    arena_release(&s.arena);
    if (!ok) return fail(r, &err);
    r->status = 200;
    return NEXT_ANSWER;
}

// --- health ---

static double oldest_s(struct control *c) {
    int64_t received_ms = 0;
    struct error err = {0};
    if (!store_oldest_ms(c->options.store, &received_ms, &err) || received_ms == 0) return 0;
    return (double)max_i64(clock_realtime_ms() - received_ms, 0) / 1000;
}

static void model_append(struct buf *out, const struct control *c) {
    buf_append_str(out, "\"model\":{");
    string_append(out, "name", c->options.judge.model_name);
    buf_append_char(out, ',');
    string_append(out, "sha256", c->options.judge.model_sha256);
    buf_append_char(out, '}');
}

static void condition_append(struct buf *out, struct control *c,
                             const struct store_counts *counts) {
    buf_printf(out,
               "\"worker\":\"%s\",\"store\":\"%s\",\"queue_depth\":%lld,\"oldest_unjudged_s\":%.1f,"
               "\"traces_due\":%lld,\"failed\":%lld",
               worker_health_name(worker_health(c->worker)), c->store_failing ? "failing" : "ok",
               (long long)counts->received, counts->received > 0 ? oldest_s(c) : 0.0,
               (long long)counts->trace_due, (long long)counts->failed);
}

void status_append(struct buf *out, struct control *c) {
    struct store_counts counts;
    store_counts(c->options.store, &counts);
    buf_append_char(out, '{');
    stamp_append(out, "time", clock_realtime_ms());
    buf_append_char(out, ',');
    condition_append(out, c, &counts);
    buf_append_str(out, ",\"counts\":{");
    for (int i = 0; i < N_LEVELS; i++)
        buf_printf(out, "%s\"%s\":%lld", i ? "," : "", label_levels[i],
                   (long long)counts.levels[i]);
    buf_printf(out, "},\"messages\":%lld,\"exercise\":%s,\"seq\":%lld,", (long long)counts.messages,
               c->options.exercise ? "true" : "false", (long long)counts.last_seq);
    model_append(out, c);
    buf_append_char(out, '}');
}

enum request_next api_health(struct request *r) {
    struct control *c = r->control;
    bool well = worker_health(c->worker) == WORKER_OK && !c->store_failing;
    struct store_counts counts;
    store_counts(c->options.store, &counts);
    buf_printf(&r->reply, "{\"status\":\"%s\",", well ? "ok" : "failing");
    condition_append(&r->reply, c, &counts);
    buf_append_char(&r->reply, ',');
    if (c->last_verdict_ms > 0) stamp_append(&r->reply, "last_verdict_at", c->last_verdict_ms);
    else buf_append_str(&r->reply, "\"last_verdict_at\":null");
    buf_printf(&r->reply, ",\"uptime_s\":%.1f,",
               (double)(clock_monotonic_ns() - c->started_ns) / 1e9);
    model_append(&r->reply, c);
    buf_append_char(&r->reply, '}');
    r->status = well ? 200 : 503;
    return NEXT_ANSWER;
}

// --- metrics, Prometheus text format 0.0.4 ---

static void metric_head(struct buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void metric(struct buf *out, const char *name, const char *type, const char *help,
                   double value) {
    metric_head(out, name, type, help);
    buf_printf(out, "%s %.10g\n", name, value);
}

static void latency_append(struct buf *out, struct metrics *m) {
    static const char name[] = "sillon_receipt_to_verdict_seconds";
    int64_t sum = 0;
    metric_head(out, name, "histogram", "From receipt of a message to its first verdict on disk.");
    for (int i = 0; i < METRICS_BUCKETS; i++) {
        sum += m->latency[i];
        buf_printf(out, "%s_bucket{le=\"%g\"} %lld\n", name, metrics_bounds_s[i], (long long)sum);
    }
    sum += m->latency[METRICS_BUCKETS];
    buf_printf(out, "%s_bucket{le=\"+Inf\"} %lld\n%s_sum %.6f\n%s_count %lld\n", name,
               (long long)sum, name, (double)m->latency_us / 1e6, name, (long long)sum);
}

enum request_next api_metrics(struct request *r) {
    struct control *c = r->control;
    struct metrics *m = &c->metrics;
    struct buf *out = &r->reply;
    struct store_counts counts;
    store_counts(c->options.store, &counts);
    pthread_mutex_lock(&c->mu);
    int n_streams = c->n_streams;
    pthread_mutex_unlock(&c->mu);
    metric(out, "sillon_messages_accepted_total", "counter", "Messages acknowledged, on disk.",
           (double)m->accepted);
    metric(out, "sillon_messages_duplicate_total", "counter",
           "Of these, ids that were there already.", (double)m->duplicates);
    metric_head(out, "sillon_messages_rejected_total", "counter",
                "Messages not accepted, by reason.");
    buf_printf(out,
               "sillon_messages_rejected_total{reason=\"input\"} %lld\n"
               "sillon_messages_rejected_total{reason=\"conflict\"} %lld\n"
               "sillon_messages_rejected_total{reason=\"store\"} %lld\n",
               (long long)m->rejected, (long long)m->conflicts, (long long)m->refused);
    metric_head(out, "sillon_verdicts_total", "counter",
                "First verdicts since the start, by level.");
    for (int i = 0; i < N_LEVELS; i++)
        buf_printf(out, "sillon_verdicts_total{level=\"%s\"} %lld\n", label_levels[i],
                   (long long)m->verdicts[i]);
    metric(out, "sillon_judge_failures_total", "counter", "Messages that could not be judged.",
           (double)m->verdicts[N_LEVELS]);
    metric(out, "sillon_traces_total", "counter", "Traces written.", (double)m->traces);
    metric(out, "sillon_queue_depth", "gauge", "Messages without a verdict.",
           (double)counts.received);
    metric(out, "sillon_traces_due", "gauge", "Verdicts that wait for their trace.",
           (double)counts.trace_due);
    metric(out, "sillon_oldest_unjudged_seconds", "gauge",
           "Age of the oldest message without a verdict.", counts.received > 0 ? oldest_s(c) : 0);
    metric(out, "sillon_streams", "gauge", "Open event streams.", n_streams);
    metric(out, "sillon_worker_up", "gauge", "1 when the judging thread is well.",
           worker_health(c->worker) == WORKER_OK);
    metric(out, "sillon_store_up", "gauge", "1 when the store writes.", !c->store_failing);
    metric(out, "sillon_chat_requests_total", "counter", "Chat completions asked.",
           (double)m->chat_requests);
    metric(out, "sillon_chat_tokens_total", "counter", "Tokens written for them.",
           (double)m->chat_tokens);
    metric_head(out, "sillon_http_responses_total", "counter", "Answers by class of status.");
    for (int i = 2; i < 6; i++)
        buf_printf(out, "sillon_http_responses_total{class=\"%dxx\"} %lld\n", i,
                   (long long)m->requests[i]);
    latency_append(out, m);
    r->type = "text/plain; version=0.0.4; charset=utf-8";
    r->status = 200;
    return NEXT_ANSWER;
}
