// control/chat.h - one request of the OpenAI-compatible endpoint, from its JSON to the text the
// worker writes. Owned by reference: the connection and the worker each hold one (chat_job_unref).
#ifndef CONTROL_CHAT_H
#define CONTROL_CHAT_H

#include "control/judge.h"

#include <pthread.h>

enum { CHAT_STOPS = 4, CHAT_STOP_BYTES = 256 };

struct chat_job {
    // read-only once submitted:
    json_t *messages;
    struct generator_request request;
    bool stream, include_usage;
    char stops[CHAT_STOPS][CHAT_STOP_BYTES];
    int n_stops;
    char id[40];
    int64_t created_s;
    void (*progress)(struct chat_job *job); // worker thread: text was added, or the job is done
    void *owner, *context;                  // the requester's
    // worker only:
    struct buf held; // text that may be the beginning of a stop string
    struct chat_job *next;
    pthread_mutex_t mu; // guards what follows
    int n_refs;
    struct buf text; // ready to be sent
    bool cancelled, done;
    enum generator_step end; // STOP, LENGTH or FAILED once done
    struct error err;
    int64_t prompt_tokens, completion_tokens;
};

// Parses the body. *param is the field at fault, or NULL. model_name: what this server has.
NODISCARD bool chat_job_open(struct chat_job **out, const char *body, size_t n_bytes,
                             const char *model_name, const char **param, struct error *err);
void chat_job_unref(struct chat_job *job); // NULL is fine
struct chat_job *chat_job_ref(struct chat_job *job);

// Worker: adds generated text; false once a stop string was reached (what follows it is dropped).
bool chat_job_add(struct chat_job *job, const char *text, size_t n_bytes);
void chat_job_finish(struct chat_job *job, enum generator_step end, const struct error *err);
bool chat_job_cancelled(struct chat_job *job);

#endif
