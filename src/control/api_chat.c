// control/api_chat.c - the OpenAI-compatible endpoints: /v1/models and /v1/chat/completions, whole
// or as a stream of chunks (https://platform.openai.com/docs/api-reference/chat).
#include "control/control_internal.h"

#include "core/clock.h"

#include <string.h>

enum request_next api_models(struct request *r) {
    const char *name = r->control->options.judge.model_name;
    buf_append_str(&r->reply, "{\"object\":\"list\",\"data\":[{\"id\":");
    buf_append_json_string(&r->reply, name, strlen(name));
    buf_append_str(&r->reply, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"sillon\"}]}");
    r->status = 200;
    return NEXT_ANSWER;
}

static void chat_error(struct request *r, int status, const struct error *err, const char *param) {
    const char *code = err->code == ERR_LIMIT
                           ? (status == 429 ? "rate_limit_exceeded" : "context_length_exceeded")
                       : err->code == ERR_NOTFOUND ? "model_not_found"
                       : err->code == ERR_INPUT    ? "invalid_value"
                                                   : "server_error";
    const char *type = status == 429   ? "rate_limit_error"
                       : status >= 500 ? "server_error"
                                       : "invalid_request_error";
    r->status = status;
    buf_append_str(&r->reply, "{\"error\":{\"message\":");
    buf_append_json_string(&r->reply, err->text, strlen(err->text));
    buf_printf(&r->reply, ",\"type\":\"%s\",\"param\":", type);
    if (param != NULL) buf_append_json_string(&r->reply, param, strlen(param));
    else buf_append_str(&r->reply, "null");
    buf_printf(&r->reply, ",\"code\":\"%s\"}}", code);
}

static int status_of(const struct error *err) {
    if (err->code == ERR_NOTFOUND) return 404;
    return err->code == ERR_INPUT || err->code == ERR_LIMIT || err->code == ERR_USAGE ? 400 : 503;
}

static const char *finish_reason(const struct chat_job *job) {
    return job->end == GENERATOR_LENGTH ? "length" : "stop";
}

static void usage_append(struct buf *out, const struct chat_job *job) {
    buf_printf(
        out, "\"usage\":{\"prompt_tokens\":%lld,\"completion_tokens\":%lld,\"total_tokens\":%lld}",
        (long long)job->prompt_tokens, (long long)job->completion_tokens,
        (long long)(job->prompt_tokens + job->completion_tokens));
}

static void head_append(struct request *r, const char *object) {
    const struct chat_job *job = r->job;
    const char *name = r->control->options.judge.model_name;
    buf_printf(&r->reply, "{\"id\":\"%s\",\"object\":\"%s\",\"created\":%lld,\"model\":", job->id,
               object, (long long)job->created_s);
    buf_append_json_string(&r->reply, name, strlen(name));
    buf_append_char(&r->reply, ',');
}

// --- the whole answer ---

static void whole_append(struct request *r) { // job->mu is held
    const struct chat_job *job = r->job;
    head_append(r, "chat.completion");
    buf_append_str(&r->reply,
                   "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    buf_append_json_string(&r->reply, job->text.data != NULL ? job->text.data : "",
                           job->text.n_bytes);
    buf_printf(&r->reply, "},\"logprobs\":null,\"finish_reason\":\"%s\"}],", finish_reason(job));
    usage_append(&r->reply, job);
    buf_append_char(&r->reply, '}');
    r->status = 200;
    r->control->metrics.chat_tokens += job->completion_tokens;
}

// --- chunks ---

static void chunk_append(struct request *r, const char *delta, const char *finish) {
    buf_append_str(&r->reply, "data: ");
    head_append(r, "chat.completion.chunk");
    buf_printf(&r->reply, "\"choices\":[{\"index\":0,\"delta\":{%s},\"finish_reason\":", delta);
    if (finish != NULL) buf_printf(&r->reply, "\"%s\"}]}\n\n", finish);
    else buf_append_str(&r->reply, "null}]}\n\n");
}

static void text_append(struct request *r, const struct buf *text) {
    struct buf delta = {0};
    buf_append_str(&delta, "\"content\":");
    buf_append_json_string(&delta, text->data, text->n_bytes);
    if (buf_ok(&delta)) chunk_append(r, delta.data, NULL);
    else r->reply.failed = true;
    buf_release(&delta);
}

static void end_append(struct request *r) {
    struct chat_job *job = r->job;
    if (job->end == GENERATOR_FAILED) {
        buf_append_str(&r->reply, "data: ");
        chat_error(r, status_of(&job->err), &job->err, NULL);
        buf_append_str(&r->reply, "\n\n");
    } else {
        chunk_append(r, "", finish_reason(job));
        if (job->include_usage) {
            buf_append_str(&r->reply, "data: ");
            head_append(r, "chat.completion.chunk");
            buf_append_str(&r->reply, "\"choices\":[],");
            usage_append(&r->reply, job);
            buf_append_str(&r->reply, "}\n\n");
        }
    }
    buf_append_str(&r->reply, "data: [DONE]\n\n");
    r->control->metrics.chat_tokens += job->completion_tokens;
}

static void chunks_fill(struct request *r) {
    struct chat_job *job = r->job;
    buf_reset(&r->reply);
    r->sent_bytes = 0;
    pthread_mutex_lock(&job->mu);
    bool failed_at_once = job->done && job->end == GENERATOR_FAILED && job->text.n_bytes == 0;
    if (!r->chat_opened && !failed_at_once && (job->text.n_bytes > 0 || job->done)) {
        chunk_append(r, "\"role\":\"assistant\",\"content\":\"\"", NULL);
        r->chat_opened = true;
    }
    if (job->text.n_bytes > 0) {
        text_append(r, &job->text);
        buf_reset(&job->text);
    }
    if (job->done) {
        end_append(r);
        r->chat_closed = true;
    }
    pthread_mutex_unlock(&job->mu);
}

static ssize_t chunks_read(void *context, uint64_t position, char *out, size_t max_bytes) {
    struct request *r = context;
    struct control *c = r->control;
    (void)position;
    for (;;) {
        size_t left = r->reply.n_bytes - r->sent_bytes;
        if (!buf_ok(&r->reply)) return MHD_CONTENT_READER_END_WITH_ERROR;
        if (left > 0) {
            size_t n = left < max_bytes ? left : max_bytes;
            memcpy(out, r->reply.data + r->sent_bytes, n);
            r->sent_bytes += n;
            return (ssize_t)n;
        }
        if (r->chat_closed) return MHD_CONTENT_READER_END_OF_STREAM;
        chunks_fill(r);
        if (r->reply.n_bytes > 0) continue;
        pthread_mutex_lock(
            &c->mu); // chat_progress() takes it after it changed the job: look again under it
        pthread_mutex_lock(&r->job->mu);
        bool idle = r->job->text.n_bytes == 0 && !r->job->done;
        pthread_mutex_unlock(&r->job->mu);
        if (idle) {
            r->suspended = true;
            c->n_suspended++;
            MHD_suspend_connection(r->connection);
        }
        pthread_mutex_unlock(&c->mu);
        if (idle) return 0;
    }
}

static void stream_begin(struct request *r) {
    struct MHD_Response *response = response_secure(
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, 4096, chunks_read, r, NULL));
    r->result = MHD_NO;
    if (response == NULL) return;
    MHD_add_response_header(response, "Content-Type", "text/event-stream");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    r->result = MHD_queue_response(r->connection, 200, response);
    MHD_destroy_response(response);
    r->control->metrics.requests[2]++;
}

// --- the request: it waits for the worker's first word, so that what is refused has its status
// even as a stream ---

// Worker thread. job->context is the request while its connection lives, guarded by control->mu.
static void chat_progress(struct chat_job *job) {
    struct control *c = job->owner;
    pthread_mutex_lock(&c->mu);
    struct request *r = job->context;
    pthread_mutex_lock(&job->mu);
    bool wanted = job->stream ? job->done || job->text.n_bytes > 0 : job->done;
    pthread_mutex_unlock(&job->mu);
    if (r != NULL && wanted) request_resume_locked(r);
    pthread_mutex_unlock(&c->mu);
}

enum request_next api_chat_resume(struct request *r) {
    struct chat_job *job = r->job;
    enum request_next next = NEXT_ANSWER;
    pthread_mutex_lock(&job->mu); // the worker may still hold its reference
    if (job->done && job->end == GENERATOR_FAILED) {
        int status = r->chat_status != 0 ? r->chat_status : status_of(&job->err);
        chat_error(r, status, &job->err,
                   job->err.code == ERR_LIMIT && status == 400 ? "messages" : NULL);
    } else if (job->stream) {
        next = NEXT_QUEUED;
    } else {
        whole_append(r);
    }
    pthread_mutex_unlock(&job->mu);
    if (next == NEXT_QUEUED) stream_begin(r);
    return next;
}

enum request_next api_chat(struct request *r) {
    struct control *c = r->control;
    struct error err = {0};
    const char *param = NULL;
    if (c->options.generator.begin == NULL) {
        error_set(&err, ERR_STATE, "this server was started without text generation");
        chat_error(r, 503, &err, NULL);
        return NEXT_ANSWER;
    }
    if (!chat_job_open(&r->job, r->body.data, r->body.n_bytes, c->options.judge.model_name, &param,
                       &err)) {
        chat_error(r, status_of(&err), &err, param);
        return NEXT_ANSWER;
    }
    c->metrics.chat_requests++;
    r->job->progress = chat_progress;
    r->job->owner = c;
    r->job->context = r;
    if (!request_suspend(r)) {
        error_set(&err, ERR_STATE, "the server is shutting down");
        chat_error(r, 503, &err, NULL);
        return NEXT_ANSWER;
    }
    if (!worker_chat(c->worker, r->job, &err)) {
        r->chat_status = err.code == ERR_LIMIT ? 429 : 503;
        chat_job_finish(r->job, GENERATOR_FAILED, &err);
        request_resume(r);
    }
    return NEXT_WAIT;
}
