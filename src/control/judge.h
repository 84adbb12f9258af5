// control/judge.h - the two things the control room asks of a model, as small interfaces: tests
// give fakes, the program gives the model (judge_triage.c, generator_engine.c). Thread: every
// function is called by the worker thread only.
#ifndef CONTROL_JUDGE_H
#define CONTROL_JUDGE_H

#include "core/buf.h"
#include "triage/triage.h"

struct judge {
    void *context;
    // As triage_run().
    bool (*run)(void *context, const struct message *messages, int64_t n, enum trace_mode mode,
                struct verdict *verdicts, struct error *err);
    const char *model_name, *model_sha256;
    int64_t n_batch; // messages that are worth judging together
};

struct generator_request {
    const json_t *messages; // [{"role", "content": text}]
    int64_t max_tokens;
    float temperature, top_p;
    uint64_t seed;
};
enum generator_step { GENERATOR_MORE, GENERATOR_STOP, GENERATOR_LENGTH, GENERATOR_FAILED };

// One text at a time: begin, step until it is not MORE, end.
struct generator {
    void *context;
    // NULL: no chat. ERR_LIMIT when the prompt and max_tokens do not fit in the model's window.
    bool (*begin)(void *context, const struct generator_request *request, int64_t *prompt_tokens,
                  struct error *err);
    // At most n_tokens new tokens; appends whole UTF-8 characters to `text`, adds to *n_generated.
    enum generator_step (*step)(void *context, int64_t n_tokens, struct buf *text,
                                int64_t *n_generated, struct error *err);
    void (*end)(void *context); // also after a failed begin
};

struct judge judge_triage(struct triage *triage);

struct generator_engine; // opaque
// Own session, opened at the first request. model and folder (for the chat template) outlive it.
NODISCARD bool generator_engine_open(struct generator_engine **out, const struct model *model,
                                     const char *folder, int n_threads, struct error *err);
void generator_engine_close(struct generator_engine *engine); // NULL is fine
struct generator generator_engine_interface(struct generator_engine *engine);

#endif
