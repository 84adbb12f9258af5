// control/body.h - the body of POST /v1/messages: one object, an array or NDJSON -> messages and
// refusals.
#ifndef CONTROL_BODY_H
#define CONTROL_BODY_H

#include "triage/message.h"

enum { BODY_LIMIT_BYTES = 16 * 1024 * 1024, BODY_LIMIT_MESSAGES = 50000 };

struct body_item {
    int64_t line; // from 1: of the text, or the item of the array
    struct message message;
    bool ok;
    struct error
        err; // when not ok; message.id is then the id if one could be read and id_given says so
};
struct body {
    struct body_item *items;
    int64_t n, capacity;
};

// Strings live in `arena`. Items that are wrong are kept with their error; false is for the whole:
// empty, an array that does not parse, too many messages, out of memory. Messages without an id get
// "m-" and 20 random hex digits.
NODISCARD bool body_parse(struct body *body, struct arena *arena, const char *bytes, size_t n_bytes,
                          bool ndjson, struct error *err);
void body_release(struct body *body); // zeroed storage is fine

#endif
