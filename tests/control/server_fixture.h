// tests/control/server_fixture.h - a server on a free port with a fake judge and a fake generator,
// and a plain socket client. The judge reads the level in the text ("U3 ..."), puts every message
// on M13, fails on "FAIL", waits on "SLOW".
#ifndef TESTS_CONTROL_SERVER_FIXTURE_H
#define TESTS_CONTROL_SERVER_FIXTURE_H

#include "control/control.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    struct store *store;
    struct door door;
    struct control *control;
    _Atomic bool hold; // the judge waits while it is set
    int64_t n_generated, n_max;
};

static inline void pause_ms(int64_t ms) {
    nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

static inline bool fake_run(void *context, const struct message *messages, int64_t n,
                            enum trace_mode mode, struct verdict *verdicts, struct error *err) {
    struct fixture *f = context;
    memset(verdicts, 0, (size_t)n * sizeof *verdicts);
    while (f->hold) pause_ms(5);
    for (int64_t i = 0; i < n; i++) {
        const char *text = messages[i].text;
        if (strstr(text, "FAIL") != NULL) return error_set(err, ERR_NOMEM, "fake: out of memory");
        if (strstr(text, "SLOW") != NULL) pause_ms(300);
        int level = text[0] == 'U' && text[1] >= '0' && text[1] <= '4' ? text[1] - '0' : 0;
        verdicts[i].level = level;
        verdicts[i].p_level[level] = 1;
        verdicts[i].distress[0] = level > 2 ? 2 : 0;
        snprintf(verdicts[i].line, sizeof verdicts[i].line, "M13");
    }
    for (int64_t i = 0; i < n && mode != TRACE_NEVER; i++) {
        verdicts[i].why_for = strdup("pour");
        verdicts[i].why_against = strdup("contre");
    }
    return true;
}

static inline bool fake_begin(void *context, const struct generator_request *request,
                              int64_t *prompt_tokens, struct error *err) {
    struct fixture *f = context;
    const char *content =
        json_string_value(json_object_get(json_array_get(request->messages, 0), "content"));
    f->n_generated = 0;
    f->n_max = request->max_tokens;
    *prompt_tokens = (int64_t)json_array_size(request->messages);
    return strstr(content, "LONG") == NULL ||
           error_set(err, ERR_LIMIT, "messages: the prompt has 9999 tokens");
}

static inline enum generator_step fake_step(void *context, int64_t n_tokens, struct buf *text,
                                            int64_t *n_generated, struct error *err) {
    struct fixture *f = context;
    (void)err;
    for (int64_t i = 0; i < n_tokens; i++) {
        if (f->n_generated == 20) return GENERATOR_STOP;
        buf_printf(text, "mot%lld ", (long long)f->n_generated++);
        ++*n_generated;
        if (f->n_generated == f->n_max) return GENERATOR_LENGTH;
    }
    return GENERATOR_MORE;
}

static inline void fake_end(void *context) {
    (void)context;
}

static const unsigned char fixture_page[] = "<p>écran</p>", fixture_script[] = "console.log(1)";
static const struct asset fixture_assets[] = {
    {"/index.html", "text/html; charset=utf-8", "\"t1\"", fixture_page, sizeof fixture_page - 1},
    {"/app.js", "text/javascript; charset=utf-8", "\"t2\"", fixture_script,
     sizeof fixture_script - 1},
};

static inline void fixture_start(struct fixture *f, int64_t max_pages, enum trace_mode trace) {
    struct error err = {0};
    if (f->folder[0] == '\0') {
        snprintf(f->folder, sizeof f->folder, "/tmp/sillon-http-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
    }
    if (!store_open(&f->store, &(struct store_options){f->folder, max_pages}, &err))
        fail_msg("%s", err.text);
    if (!door_init(&f->door, f->folder, &err)) fail_msg("%s", err.text);
    struct control_options options = {
        .store = f->store,
        .door = &f->door,
        .judge = {f, fake_run, "fake", "00ff", 4},
        .generator = {f, fake_begin, fake_step, fake_end},
        .trace = trace,
        .assets = fixture_assets,
        .n_assets = 2,
        .max_streams = 3,
    };
    if (!control_open(&f->control, &options, &err)) fail_msg("%s", err.text);
}

static inline void fixture_stop(struct fixture *f) {
    control_close(f->control);
    store_close(f->store);
    f->control = NULL;
    f->store = NULL;
}

static inline void fixture_remove(struct fixture *f) {
    static const char *const names[] = {"sillon.db", "sillon.db-wal", "sillon.db-shm", "lock",
                                        "author.key"};
    if (f->control != NULL) fixture_stop(f);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", f->folder, names[i]);
        unlink(path);
    }
    assert_int_equal(rmdir(f->folder), 0);
}

static inline int client_open(const struct fixture *f) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)control_port(f->control))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_sec = 20},
               sizeof(struct timeval));
    return fd;
}

static inline void client_send(int fd, const char *bytes, size_t n_bytes) {
    while (n_bytes > 0) {
        ssize_t n = send(fd, bytes, n_bytes, MSG_NOSIGNAL);
        if (n <= 0) return; // refused before its body was read
        bytes += n;
        n_bytes -= (size_t)n;
    }
}

// Everything until the other side closes, or until `until` is seen (NULL: never).
static inline void client_read(int fd, struct buf *out, const char *until) {
    char piece[4096];
    for (;;) {
        if (until != NULL && out->n_bytes > 0 && strstr(out->data, until) != NULL) return;
        ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0) return;
        buf_append(out, piece, (size_t)n);
    }
}

// One request on a connection of its own; headers end in \r\n each. *out: the whole answer. Returns
// the status.
static inline int client_request(const struct fixture *f, struct buf *out, const char *method,
                                 const char *path, const char *headers, const char *body) {
    struct buf request = {0};
    bool has_host = strstr(headers, "Host:") != NULL,
         has_length = strstr(headers, "Content-Length:") != NULL;
    buf_printf(&request, "%s %s HTTP/1.1\r\nConnection: close\r\n%s%s", method, path,
               has_host ? "" : "Host: localhost\r\n", headers);
    if (body != NULL && !has_length) buf_printf(&request, "Content-Length: %zu\r\n", strlen(body));
    buf_printf(&request, "\r\n%s", body != NULL ? body : "");
    int fd = client_open(f);
    client_send(fd, request.data, request.n_bytes);
    buf_reset(out);
    client_read(fd, out, NULL);
    close(fd);
    buf_release(&request);
    return out->n_bytes > 12 ? atoi(out->data + 9) : 0;
}

static inline int client_post(const struct fixture *f, struct buf *out, const char *path,
                              const char *body) {
    return client_request(f, out, "POST", path, "", body);
}

#endif
