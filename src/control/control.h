// control/control.h - the control room's server: HTTP API (docs/api.md), worker, screen.
// Owns: the listening socket, MHD's threads, the worker thread, a ticker thread. Thread: open and
// close from one.
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "control/body.h"
#include "control/door.h"
#include "control/judge.h"
#include "store/store.h"

struct control; // opaque

struct asset {        // a file of the screen, embedded in the program
    const char *path; // "/app.js"
    const char *type; // Content-Type
    const char *etag; // with its quotes
    const unsigned char *data;
    size_t n_bytes;
};

struct control_options {
    const char *host;       // NULL: 127.0.0.1
    int port;               // 0: a free one
    const char *allow_host; // a further Host name to answer to; NULL: none
    struct store *store;    // borrowed, as the next ones
    const struct door *door;
    struct judge judge;
    struct generator generator;
    enum trace_mode trace;
    bool exercise; // mark every message EXERCICE
    const struct asset *assets;
    int64_t n_assets;
    int max_streams; // 0: 64
};

// A port in use, or one that needs privileges, is an error that says so.
NODISCARD bool control_open(struct control **out, const struct control_options *options,
                            struct error *err);
// Stops accepting, lets the worker finish its batch, answers what waits, joins every thread. NULL
// is fine.
void control_close(struct control *control);
int control_port(const struct control *control);
// Stores messages as POST does (pseudonyms, masks, one transaction) and waits for the commit. Texts
// are changed in place. Thread: any.
NODISCARD bool control_submit(struct control *control, struct body_item *items, int64_t n,
                              bool exercise, struct error *err);

#endif
