// control/server.c - libmicrohttpd glue: the listening socket, the checks every request passes, its
// life from the first header to the answer, start and stop. What a path does is in api_*.c.
#include "control/control_internal.h"

#include "core/clock.h"
#include "core/json.h"
#include "core/log.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    N_THREADS = 2, // of MHD: a 16 MiB body being parsed must not hold up the screen
    CONNECTIONS = 512,
    IDLE_S = 30, // no byte either way: the connection is closed
    TICK_MS = 250,
    GRACE_MS = 2000, // for answers on their way when the server stops
};
static const int64_t body_bytes_limit = (int64_t)256
                                        << 20; // of all requests being received together

// --- answers ---

struct MHD_Response *response_secure(struct MHD_Response *response) {
    if (response == NULL) return NULL;
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    MHD_add_response_header(response, "Content-Security-Policy",
                            "default-src 'self'; frame-ancestors 'none'");
    return response;
}

static enum MHD_Result request_send(struct request *r) {
    if (!buf_ok(&r->reply)) {
        buf_reset(&r->reply);
        request_error(r, MHD_HTTP_INTERNAL_SERVER_ERROR, ERR_NOMEM, "out of memory for the answer");
    }
    size_t n_bytes = r->reply.n_bytes;
    char *data = n_bytes > 0 ? buf_take(&r->reply) : NULL;
    struct MHD_Response *response = response_secure(MHD_create_response_from_buffer(
        n_bytes, data, data != NULL ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT));
    if (response == NULL) {
        free(data);
        return MHD_NO;
    }
    MHD_add_response_header(response, "Content-Type",
                            r->type != NULL ? r->type : "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    if (r->allow != NULL) MHD_add_response_header(response, "Allow", r->allow);
    if (r->status == MHD_HTTP_SERVICE_UNAVAILABLE || r->status == MHD_HTTP_TOO_MANY_REQUESTS)
        MHD_add_response_header(response, "Retry-After", "1");
    enum MHD_Result result = MHD_queue_response(r->connection, (unsigned)r->status, response);
    MHD_destroy_response(response);
    r->control->metrics.requests[r->status / 100 % 6]++;
    return result;
}

static const char *openai_type(int status) {
    if (status == MHD_HTTP_TOO_MANY_REQUESTS) return "rate_limit_error";
    return status >= 500 ? "server_error" : "invalid_request_error";
}

void request_error(struct request *r, int status, enum error_code code, const char *format, ...) {
    char text[sizeof((struct error *)0)->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->status = status;
    r->type = NULL;
    buf_reset(&r->reply);
    buf_append_str(&r->reply, "{\"error\":{\"message\":");
    buf_append_json_string(&r->reply, text, strlen(text));
    if (r->openai) buf_printf(&r->reply, ",\"type\":\"%s\",\"param\":null", openai_type(status));
    const char *name = error_code_name(code);
    if (status == 404) name = "notfound";
    if (status == 405) name = "method";
    if (status == 403) name = "forbidden";
    if (status == 409) name = "conflict";
    buf_printf(&r->reply, ",\"code\":\"%s\"}}", name);
}

// --- reading a request ---

const char *request_query(const struct request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_GET_ARGUMENT_KIND, name);
}

const char *request_header(const struct request *r, const char *name) {
    return MHD_lookup_connection_value(r->connection, MHD_HEADER_KIND, name);
}

bool request_query_i64(struct request *r, const char *name, int64_t least, int64_t most,
                       int64_t *out) {
    const char *s = request_query(r, name);
    if (s == NULL) return true;
    char *end;
    errno = 0;
    long long value = strtoll(s, &end, 10);
    if (errno == 0 && end != s && *end == '\0' && value >= least && value <= most) {
        *out = value;
        return true;
    }
    request_error(r, 400, ERR_INPUT, "%s=%.60s: an integer from %lld to %lld was expected", name, s,
                  (long long)least, (long long)most);
    return false;
}

bool request_query_level(struct request *r, int *level) {
    const char *s = request_query(r, "level");
    *level = -1;
    if (s == NULL) return true;
    *level = label_find(label_levels, N_LEVELS, s);
    if (*level >= 0) return true;
    request_error(r, 400, ERR_INPUT, "level=%.60s: U0, U1, U2, U3 or U4 was expected", s);
    return false;
}

// --- suspension ---

bool request_suspend(struct request *r) {
    pthread_mutex_lock(&r->control->mu);
    bool ok = !r->control->stopping;
    if (ok) {
        r->suspended = true;
        r->control->n_suspended++;
        MHD_suspend_connection(r->connection);
    }
    pthread_mutex_unlock(&r->control->mu);
    return ok;
}

void request_resume_locked(struct request *r) {
    if (!r->suspended) return;
    r->suspended = false;
    r->control->n_suspended--;
    MHD_resume_connection(r->connection);
}

void request_resume(struct request *r) {
    struct control *c = r->control; // r may be gone once MHD runs it again
    pthread_mutex_lock(&c->mu);
    request_resume_locked(r);
    pthread_mutex_unlock(&c->mu);
}

void request_list(struct request **list, struct request *r) {
    r->previous = NULL;
    r->next = *list;
    if (*list != NULL) (*list)->previous = r;
    *list = r;
    r->listed = true;
}

void request_unlist(struct request **list, struct request *r) {
    if (!r->listed) return;
    if (r->previous != NULL) r->previous->next = r->next;
    else *list = r->next;
    if (r->next != NULL) r->next->previous = r->previous;
    r->listed = false;
}

// --- checks before anything else ---

// "[::1]:8080" -> "[::1]", "localhost:80" -> "localhost"
static void host_name(char *out, size_t out_bytes, const char *host) {
    const char *end = host[0] == '[' ? strchr(host, ']') : NULL;
    end = end != NULL ? end + 1 : host + strcspn(host, ":");
    snprintf(out, out_bytes, "%.*s", (int)min_i64(end - host, 255), host);
}

static bool host_is_ours(const struct control *c, const char *host) {
    char name[256];
    host_name(name, sizeof name, host);
    return strcasecmp(name, "localhost") == 0 || strncmp(name, "127.", 4) == 0 ||
           strcmp(name, "[::1]") == 0 ||
           (c->options.host != NULL && strcasecmp(name, c->options.host) == 0) ||
           (c->options.allow_host != NULL && strcasecmp(name, c->options.allow_host) == 0);
}

static bool origin_is_same(const char *origin, const char *host) {
    const char *rest = strstr(origin, "://");
    return rest != NULL && host != NULL && strcasecmp(rest + 3, host) == 0;
}

static bool path_matches(const struct route *route, const char *path) {
    size_t n = strlen(route->path);
    if (n > 1 && route->path[n - 1] == '/')
        return strncmp(route->path, path, n) == 0 && path[n] != '\0';
    return strcmp(route->path, path) == 0;
}

static void route_find(struct request *r, const char *method) {
    if (strcmp(method, "HEAD") == 0) method = "GET"; // MHD leaves the body out
    for (int64_t i = 0; i < control_n_routes; i++) {
        const struct route *route = &control_routes[i];
        if (!path_matches(route, r->path)) continue;
        if (strcmp(route->method, method) == 0) {
            r->route = route;
            return;
        }
        r->allow = strcmp(route->method, "GET") == 0 ? "GET, HEAD" : route->method;
    }
}

static const struct asset *asset_find(const struct control *c, const char *path) {
    if (strcmp(path, "/") == 0) path = "/index.html";
    for (int64_t i = 0; i < c->options.n_assets; i++)
        if (strcmp(c->options.assets[i].path, path) == 0) return &c->options.assets[i];
    return NULL;
}

// Leaves an error ready in r->status, or 0.
static void request_check(struct request *r, const char *method) {
    struct control *c = r->control;
    const char *host = request_header(r, "Host"), *origin = request_header(r, "Origin");
    bool reads = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    r->openai = strcmp(r->path, "/v1/models") == 0 || strncmp(r->path, "/v1/chat/", 9) == 0;
    if (c->loopback && host != NULL && !host_is_ours(c, host))
        return request_error(r, 403, ERR_INPUT,
                             "Host \"%.200s\": this server answers to localhost only", host);
    if (!reads && origin != NULL && !origin_is_same(origin, host))
        return request_error(r, 403, ERR_INPUT, "Origin \"%.200s\" is not this server", origin);
    route_find(r, method);
    if (r->route == NULL && asset_find(c, r->path) != NULL) {
        if (reads) return;
        r->allow = "GET, HEAD";
    }
    if (r->route == NULL && r->allow != NULL)
        return request_error(r, 405, ERR_INPUT, "%s is not possible on %.200s, only %s", method,
                             r->path, r->allow);
    if (r->route == NULL)
        return request_error(r, 404, ERR_NOTFOUND, "there is nothing at %.200s", r->path);
    if (reads) return;
    const char *type = request_header(r, "Content-Type"),
               *length = request_header(r, "Content-Length");
    if (type != NULL && strncasecmp(type, "multipart/", 10) ==
                            0) // a form's other type is what curl -d says of JSON
        return request_error(r, 415, ERR_INPUT, "Content-Type \"%.100s\": JSON was expected", type);
    if (length != NULL && strtoull(length, NULL, 10) > BODY_LIMIT_BYTES)
        request_error(r, 413, ERR_LIMIT, "body of %.20s bytes, the limit is %d", length,
                      BODY_LIMIT_BYTES);
}

// --- the life of a request ---

static enum MHD_Result asset_send(struct request *r) {
    const struct asset *asset = asset_find(r->control, r->path);
    const char *match = request_header(r, "If-None-Match");
    bool same = match != NULL && strstr(match, asset->etag) != NULL;
    struct MHD_Response *response = response_secure(MHD_create_response_from_buffer(
        same ? 0 : asset->n_bytes, (void *)(uintptr_t)asset->data, MHD_RESPMEM_PERSISTENT));
    if (response == NULL) return MHD_NO;
    MHD_add_response_header(response, "Content-Type", asset->type);
    MHD_add_response_header(response, "ETag", asset->etag);
    MHD_add_response_header(response, "Cache-Control",
                            "no-cache"); // keep, but ask: a new program has a new screen
    enum MHD_Result result = MHD_queue_response(r->connection, same ? 304 : 200, response);
    MHD_destroy_response(response);
    r->control->metrics.requests[same ? 3 : 2]++;
    return result;
}

static bool body_add(struct request *r, const char *data, size_t n_bytes) {
    struct control *c = r->control;
    if (r->body_too_long || r->body.n_bytes + n_bytes > BODY_LIMIT_BYTES) {
        r->body_too_long = true;
        return true; // swallowed: MHD answers only once the body is over
    }
    buf_append(&r->body, data, n_bytes);
    return atomic_fetch_add(&c->body_bytes, (int64_t)n_bytes) + (int64_t)n_bytes <=
               body_bytes_limit &&
           buf_ok(&r->body);
}

static enum MHD_Result request_run(struct request *r) {
    enum request_next next = NEXT_ANSWER;
    if (r->route == NULL) return asset_send(r);
    if (!r->started) {
        r->started = true;
        if (r->body_too_long)
            request_error(r, 413, ERR_LIMIT, "body over the limit of %d bytes", BODY_LIMIT_BYTES);
        else next = r->route->start(r);
    } else {
        next = r->route->resume(r);
    }
    if (next == NEXT_WAIT) return MHD_YES;
    if (next == NEXT_QUEUED) return r->result;
    return request_send(r);
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *n_bytes, void **state) {
    struct control *c = context;
    struct request *r = *state;
    (void)version;
    if (r == NULL) {
        r = calloc(1, sizeof *r);
        if (r == NULL) return MHD_NO;
        *r = (struct request){.control = c, .connection = connection, .path = url};
        arena_init(&r->arena, (size_t)128 << 20);
        *state = r;
        request_check(r, method);
        return r->status != 0 ? request_send(r) : MHD_YES;
    }
    if (*n_bytes > 0) {
        bool ok = body_add(r, data, *n_bytes);
        *n_bytes = 0;
        return ok ? MHD_YES : MHD_NO;
    }
    return request_run(r);
}

static void on_completed(void *context, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code) {
    struct control *c = context;
    struct request *r = *state;
    (void)connection;
    (void)code;
    if (r == NULL) return;
    pthread_mutex_lock(&c->mu);
    bool is_stream = r->route != NULL && r->route->start == api_stream;
    if (is_stream && r->listed) c->n_streams--;
    request_unlist(is_stream ? &c->streams : &c->waiters, r);
    if (r->suspended) c->n_suspended--; // cannot be resumed any more
    if (r->job != NULL) r->job->context = NULL;
    pthread_mutex_unlock(&c->mu);
    if (r->job != NULL) {
        pthread_mutex_lock(&r->job->mu);
        r->job->cancelled = true;
        pthread_mutex_unlock(&r->job->mu);
        chat_job_unref(r->job);
    }
    atomic_fetch_sub(&c->body_bytes, (int64_t)r->body.n_bytes);
    buf_release(&r->body);
    buf_release(&r->reply);
    body_release(&r->parsed);
    arena_release(&r->arena);
    free(r->pending);
    free(r);
    *state = NULL;
}

// --- start and stop ---

static void on_judged(void *context, const struct worker_judged *judged, int64_t n) {
    struct control *c = context;
    for (int64_t i = 0; i < n; i++) {
        c->metrics.traces += judged[i].traced;
        if (!judged[i].first) continue;
        c->metrics.verdicts[judged[i].level >= 0 ? judged[i].level : 5]++;
        metrics_latency(&c->metrics, judged[i].latency_s);
    }
    c->last_verdict_ms = clock_realtime_ms();
    pthread_mutex_lock(&c->mu);
    c->last_seq = judged[n - 1].seq;
    messages_judged(c, judged, n);
    streams_wake(c, true, 0);
    pthread_mutex_unlock(&c->mu);
}

static void on_store_failing(void *context, const struct error *err) {
    struct control *c = context;
    c->store_failing = err != NULL;
}

static void *ticker_main(void *context) {
    struct control *c = context;
    pthread_mutex_lock(&c->mu);
    while (!c->stopping) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += TICK_MS * 1000000;
        if (until.tv_nsec >= 1000000000) {
            until.tv_sec++;
            until.tv_nsec -= 1000000000;
        }
        pthread_cond_timedwait(&c->cond, &c->mu, &until);
        int64_t now_ns = clock_monotonic_ns();
        messages_expire(c, now_ns);
        streams_wake(c, false, now_ns);
    }
    pthread_mutex_unlock(&c->mu);
    return NULL;
}

static bool listen_on(struct control *c, const struct addrinfo *a, struct error *err) {
    const char *host = c->options.host != NULL ? c->options.host : "127.0.0.1";
    int one = 1;
    c->listen_fd =
        socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
    if (c->listen_fd < 0) return error_set(err, ERR_IO, "socket: %s", strerror(errno));
    setsockopt(c->listen_fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(c->listen_fd, a->ai_addr, a->ai_addrlen) != 0 || listen(c->listen_fd, 256) != 0)
        return error_set(err, ERR_IO, "http://%s:%d: %s%s", host, c->options.port, strerror(errno),
                         errno == EADDRINUSE
                             ? " (is another sillon serve running? --port N takes another)"
                             : "");
    struct sockaddr_storage bound;
    socklen_t n_bytes = sizeof bound;
    if (getsockname(c->listen_fd, (struct sockaddr *)&bound, &n_bytes) != 0)
        return error_set(err, ERR_IO, "getsockname: %s", strerror(errno));
    if (bound.ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const void *)&bound;
        c->port = ntohs(in6->sin6_port);
        c->loopback = IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
    } else {
        const struct sockaddr_in *in = (const void *)&bound;
        c->port = ntohs(in->sin_port);
        c->loopback = ntohl(in->sin_addr.s_addr) >> 24 == 127;
    }
    return true;
}

static bool socket_open(struct control *c, struct error *err) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *found;
    char port[16];
    const char *host = c->options.host != NULL ? c->options.host : "127.0.0.1";
    snprintf(port, sizeof port, "%d", c->options.port);
    int status = getaddrinfo(host, port, &hints, &found);
    if (status != 0) return error_set(err, ERR_USAGE, "host %s: %s", host, gai_strerror(status));
    bool ok = listen_on(c, found, err);
    freeaddrinfo(found);
    return ok;
}

static bool daemon_start(struct control *c, struct error *err) {
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME;
    flags |= MHD_is_feature_supported(MHD_FEATURE_EPOLL) == MHD_YES ? MHD_USE_EPOLL : MHD_USE_AUTO;
    c->daemon = MHD_start_daemon(flags, 0, NULL, NULL, on_request, c, MHD_OPTION_LISTEN_SOCKET,
                                 c->listen_fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)N_THREADS,
                                 MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS,
                                 MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S,
                                 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)64 * 1024,
                                 MHD_OPTION_NOTIFY_COMPLETED, on_completed, c, MHD_OPTION_END);
    return c->daemon != NULL ||
           error_set(err, ERR_IO, "the HTTP server does not start: %s", strerror(errno));
}

bool control_open(struct control **out, const struct control_options *options, struct error *err) {
    *out = NULL;
    struct control *c = calloc(1, sizeof *c);
    if (c == NULL) return error_set(err, ERR_NOMEM, "control: out of memory");
    c->options = *options;
    c->listen_fd = -1;
    if (c->options.max_streams <= 0) c->options.max_streams = 64;
    c->started_ns = clock_monotonic_ns();
    pthread_mutex_init(&c->mu, NULL);
    pthread_cond_init(&c->cond, NULL);
    struct store_counts counts;
    store_counts(options->store, &counts);
    c->last_seq = counts.last_seq;
    struct worker_options worker = {options->store,
                                    options->judge,
                                    options->generator,
                                    options->trace,
                                    on_judged,
                                    on_store_failing,
                                    c};
    if (!socket_open(c, err) || !worker_open(&c->worker, &worker, err) || !daemon_start(c, err))
        goto fail;
    int status = pthread_create(&c->ticker, NULL, ticker_main, c);
    if (status != 0) {
        error_set(err, ERR_IO, "control: cannot start a thread: %s", strerror(status));
        goto fail;
    }
    c->ticking = true;
    *out = c;
    return true;
fail:
    control_close(c);
    return false;
}

int control_port(const struct control *c) {
    return c->port;
}

// Waits until no request is suspended: MHD may not be stopped before. Every one has been told to
// end, or ends with a commit of the store.
static void drain(struct control *c) {
    for (int waited_ms = 0;; waited_ms += 10) {
        pthread_mutex_lock(&c->mu);
        for (struct request *r = c->waiters, *next; r != NULL; r = next) {
            next = r->next;
            request_unlist(&c->waiters, r);
            request_resume_locked(r);
        }
        streams_wake(c, true, 0);
        int n = c->n_suspended;
        pthread_mutex_unlock(&c->mu);
        if (n == 0 && (waited_ms >= 50 || c->daemon == NULL)) break;
        if (waited_ms >= GRACE_MS && n == 0) break;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
}

void control_close(struct control *c) {
    if (c == NULL) return;
    if (c->daemon != NULL) MHD_quiesce_daemon(c->daemon);
    pthread_mutex_lock(&c->mu);
    c->stopping = true;
    pthread_cond_broadcast(&c->cond);
    pthread_mutex_unlock(&c->mu);
    if (c->ticking) pthread_join(c->ticker, NULL);
    // The worker goes first: its chat requests end with an error and resume their connections. It
    // is still there to be asked for its health until the last connection is gone.
    struct worker *worker = c->worker;
    if (worker != NULL) worker_stop(worker);
    drain(c);
    if (c->daemon != NULL) MHD_stop_daemon(c->daemon);
    worker_close(worker);
    if (c->listen_fd >= 0) close(c->listen_fd);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->mu);
    free(c);
}
