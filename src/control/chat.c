// control/chat.c - OpenAI chat requests: the fields we honour, each with its bounds, and stop
// strings.
#include "control/chat.h"

#include "core/clock.h"
#include "core/json.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// content: a string, or text parts that are put end to end.
static json_t *content_flatten(const json_t *content, struct error *err) {
    if (json_is_string(content)) return json_string(json_string_value(content));
    if (!json_is_array(content)) {
        error_set(err, ERR_INPUT,
                  "messages: \"content\" must be a string or an array of text parts, not %s",
                  json_type_name(content));
        return NULL;
    }
    struct buf text = {0};
    size_t i;
    json_t *part;
    json_array_foreach(content, i, part) {
        const char *type = json_string_value(json_object_get(part, "type"));
        const char *s = json_string_value(json_object_get(part, "text"));
        if (type == NULL || strcmp(type, "text") != 0 || s == NULL) {
            error_set(err, ERR_INPUT, "messages: part of type \"%.40s\": only text is read here",
                      type != NULL ? type : "(none)");
            buf_release(&text);
            return NULL;
        }
        buf_append_str(&text, s);
    }
    json_t *flat = json_string(text.data != NULL ? text.data : "");
    buf_release(&text);
    return flat;
}

static bool messages_read(json_t **out, const json_t *root, struct error *err) {
    const json_t *given = json_object_get(root, "messages");
    if (!json_is_array(given) || json_array_size(given) == 0)
        return error_set(err, ERR_INPUT, "\"messages\" must be an array that is not empty");
    *out = json_array();
    for (size_t i = 0; i < json_array_size(given); i++) {
        const json_t *message = json_array_get(given, i), *role = json_object_get(message, "role");
        if (!json_is_string(role))
            return error_set(err, ERR_INPUT, "messages[%zu]: \"role\" must be a string", i);
        json_t *content = content_flatten(json_object_get(message, "content"), err);
        if (content == NULL) return error_wrap(err, "messages[%zu]", i);
        json_t *flat = json_object();
        json_object_set_new(flat, "role", json_string(json_string_value(role)));
        json_object_set_new(flat, "content", content);
        json_array_append_new(*out, flat);
    }
    return true;
}

static bool number_read(double *out, const json_t *root, const char *key, double least, double most,
                        struct error *err) {
    if (!json_get_f64(out, root, key, false, "request", err)) return false;
    return (*out >= least && *out <= most) ||
           error_set(err, ERR_INPUT, "\"%s\" is %g, it must be from %g to %g", key, *out, least,
                     most);
}

static bool stop_add(struct chat_job *job, const json_t *value, struct error *err) {
    const char *s = json_string_value(value);
    if (s == NULL || s[0] == '\0' || strlen(s) >= CHAT_STOP_BYTES || job->n_stops == CHAT_STOPS)
        return error_set(err, ERR_INPUT,
                         "\"stop\" must be a string or at most %d strings, each of 1 to %d bytes",
                         CHAT_STOPS, CHAT_STOP_BYTES - 1);
    snprintf(job->stops[job->n_stops++], CHAT_STOP_BYTES, "%s", s);
    return true;
}

static bool stops_read(struct chat_job *job, const json_t *root, struct error *err) {
    const json_t *stop = json_object_get(root, "stop");
    if (stop == NULL || json_is_null(stop)) return true;
    if (!json_is_array(stop)) return stop_add(job, stop, err);
    for (size_t i = 0; i < json_array_size(stop); i++)
        if (!stop_add(job, json_array_get(stop, i), err)) return false;
    return true;
}

static bool max_tokens_read(struct chat_job *job, const json_t *root, struct error *err) {
    int64_t n = 256;
    if (!json_get_i64(&n, root, "max_tokens", false, "request", err) ||
        !json_get_i64(&n, root, "max_completion_tokens", false, "request", err))
        return false;
    job->request.max_tokens = n;
    return (n >= 1 && n <= 1 << 20) ||
           error_set(err, ERR_INPUT, "\"max_tokens\" is %lld, it must be at least 1", (long long)n);
}

static bool sampling_read(struct chat_job *job, const json_t *root, const char **param,
                          struct error *err) {
    double temperature = 1, top_p = 1;
    int64_t seed = (int64_t)randombytes_random();
    *param = "temperature";
    if (!number_read(&temperature, root, "temperature", 0, 2, err)) return false;
    *param = "top_p";
    if (!number_read(&top_p, root, "top_p", 0, 1, err)) return false;
    *param = "seed";
    if (!json_get_i64(&seed, root, "seed", false, "request", err)) return false;
    job->request.temperature = (float)temperature;
    job->request.top_p = (float)top_p;
    job->request.seed = (uint64_t)seed;
    return true;
}

static bool unsupported_check(const json_t *root, const char **param, struct error *err) {
    static const char *const refused[] = {"tools", "functions", "audio", "response_format"};
    for (int i = 0; i < COUNT_OF(refused); i++) {
        const json_t *value = json_object_get(root, refused[i]);
        const char *type = json_string_value(json_object_get(value, "type"));
        *param = refused[i];
        if (value != NULL && !json_is_null(value) && (type == NULL || strcmp(type, "text") != 0))
            return error_set(err, ERR_INPUT, "\"%s\" is not supported by this server", refused[i]);
    }
    int64_t n = 1;
    *param = "n";
    if (!json_get_i64(&n, root, "n", false, "request", err)) return false;
    return n == 1 || error_set(err, ERR_INPUT, "\"n\" is %lld, only 1 is supported", (long long)n);
}

static bool request_read(struct chat_job *job, const json_t *root, const char *model_name,
                         const char **param, struct error *err) {
    const char *model = NULL;
    if (!json_is_object(root))
        return error_set(err, ERR_INPUT, "body: a JSON object was expected, not %s",
                         json_type_name(root));
    *param = "model";
    if (!json_get_string(&model, root, "model", false, "request", err)) return false;
    if (model != NULL && strcmp(model, model_name) != 0)
        return error_set(err, ERR_NOTFOUND,
                         "the model \"%.100s\" is not served here; this server has \"%s\"", model,
                         model_name);
    *param = "messages";
    if (!messages_read(&job->messages, root, err)) return false;
    job->request.messages = job->messages;
    *param = "max_tokens";
    if (!max_tokens_read(job, root, err) || !sampling_read(job, root, param, err)) return false;
    *param = "stop";
    if (!stops_read(job, root, err)) return false;
    *param = "stream";
    if (!json_get_bool(&job->stream, root, "stream", false, "request", err)) return false;
    *param = "stream_options";
    const json_t *options = json_object_get(root, "stream_options");
    if (json_is_object(options) &&
        !json_get_bool(&job->include_usage, options, "include_usage", false, "stream_options", err))
        return false;
    return unsupported_check(root, param, err);
}

bool chat_job_open(struct chat_job **out, const char *body, size_t n_bytes, const char *model_name,
                   const char **param, struct error *err) {
    json_t *root = NULL;
    *out = NULL;
    *param = NULL;
    if (sodium_init() < 0) return error_set(err, ERR_STATE, "libsodium does not start");
    struct chat_job *job = calloc(1, sizeof *job);
    if (job == NULL) return error_set(err, ERR_NOMEM, "chat: out of memory");
    job->n_refs = 1;
    pthread_mutex_init(&job->mu, NULL);
    uint8_t random[12];
    randombytes_buf(random, sizeof random);
    memcpy(job->id, "chatcmpl-", 9);
    sodium_bin2hex(job->id + 9, sizeof job->id - 9, random, sizeof random);
    job->created_s = clock_realtime_ms() / 1000;
    bool ok = json_parse(&root, body != NULL ? body : "", n_bytes, "body", err) &&
              request_read(job, root, model_name, param, err);
    json_decref(root);
    if (!ok) {
        chat_job_unref(job);
        return false;
    }
    *param = NULL;
    *out = job;
    return true;
}

struct chat_job *chat_job_ref(struct chat_job *job) {
    pthread_mutex_lock(&job->mu);
    job->n_refs++;
    pthread_mutex_unlock(&job->mu);
    return job;
}

void chat_job_unref(struct chat_job *job) {
    if (job == NULL) return;
    pthread_mutex_lock(&job->mu);
    bool last = --job->n_refs == 0;
    pthread_mutex_unlock(&job->mu);
    if (!last) return;
    pthread_mutex_destroy(&job->mu);
    json_decref(job->messages);
    buf_release(&job->held);
    buf_release(&job->text);
    free(job);
}

static void text_move(struct chat_job *job, size_t n_bytes) {
    if (n_bytes == 0) return;
    pthread_mutex_lock(&job->mu);
    buf_append(&job->text, job->held.data, n_bytes);
    pthread_mutex_unlock(&job->mu);
    memmove(job->held.data, job->held.data + n_bytes, job->held.n_bytes - n_bytes);
    job->held.n_bytes -= n_bytes;
}

// Length of the longest end of `held` that is the beginning of a stop string.
static size_t stop_beginning(const struct chat_job *job) {
    size_t longest = 0;
    for (int i = 0; i < job->n_stops; i++) {
        size_t n = strlen(job->stops[i]) - 1;
        for (n = n < job->held.n_bytes ? n : job->held.n_bytes; n > longest; n--)
            if (memcmp(job->held.data + job->held.n_bytes - n, job->stops[i], n) == 0) longest = n;
    }
    return longest;
}

bool chat_job_add(struct chat_job *job, const char *text, size_t n_bytes) {
    buf_append(&job->held, text, n_bytes);
    if (!buf_ok(&job->held)) return false;
    if (job->held.n_bytes == 0) return true;
    const char *first = NULL;
    for (int i = 0; i < job->n_stops; i++) {
        const char *at =
            memmem(job->held.data, job->held.n_bytes, job->stops[i], strlen(job->stops[i]));
        if (at != NULL && (first == NULL || at < first)) first = at;
    }
    if (first != NULL) {
        text_move(job, (size_t)(first - job->held.data));
        buf_reset(&job->held);
        return false;
    }
    text_move(job, job->held.n_bytes - stop_beginning(job));
    return true;
}

void chat_job_finish(struct chat_job *job, enum generator_step end, const struct error *err) {
    text_move(job, job->held.n_bytes);
    pthread_mutex_lock(&job->mu);
    job->done = true;
    job->end = end;
    if (err != NULL) job->err = *err;
    pthread_mutex_unlock(&job->mu);
}

bool chat_job_cancelled(struct chat_job *job) {
    pthread_mutex_lock(&job->mu);
    bool cancelled = job->cancelled;
    pthread_mutex_unlock(&job->mu);
    return cancelled;
}
