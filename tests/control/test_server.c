// tests/control/test_server.c - what one request cannot show: streams, restarts, a full disk, many
// clients, stopping.
#include "server_fixture.h"

#include "control/replay.h"
#include "core/clock.h"

#include <pthread.h>

static void expect(const struct buf *answer, const char *want) {
    if (answer->data == NULL || strstr(answer->data, want) == NULL)
        fail_msg("want %s, got:\n%s", want, answer->data ? answer->data : "(nothing)");
}

static int stream_open(const struct fixture *f, const char *path, const char *headers) {
    char request[512];
    int fd = client_open(f);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n", path,
             headers);
    client_send(fd, request, strlen(request));
    return fd;
}

// A server notices that a stream's client is gone when it next writes to it: within a status.
static void wait_no_stream(const struct fixture *f, struct buf *answer) {
    for (int i = 0; i < 100; i++) {
        client_request(f, answer, "GET", "/metrics", "", NULL);
        if (strstr(answer->data, "\nsillon_streams 0\n") != NULL) return;
        pause_ms(100);
    }
    fail_msg("the closed stream is still counted:\n%s", answer->data);
}

static void test_stream(void **state) {
    (void)state;
    struct fixture f = {0};
    struct buf answer = {0}, events = {0};
    fixture_start(&f, 0, TRACE_AUTO);
    int fd = stream_open(&f, "/v1/stream", "");
    client_read(fd, &events, "event: status"); // at once
    expect(&events, "text/event-stream");
    expect(&events, "\"counts\":{\"U0\":0,");
    assert_int_equal(client_post(&f, &answer, "/v1/messages", "{\"id\":\"s1\",\"text\":\"U3 un\"}"),
                     200);
    client_read(fd, &events, "id: 2\n"); // the level, then the same with its trace
    client_read(fd, &events, "contre");
    // A quick worker may have replaced verdict 1 before the stream read it.
    expect(&events, "event: verdict\ndata: {\"id\":\"s1\",\"urgency\":{\"level\":\"U3\"");
    expect(&events, "\"seq\":2,");
    buf_reset(&events); // status comes again by itself
    client_read(fd, &events, "event: status");
    expect(&events, "\"U3\":1");
    close(fd);
    wait_no_stream(&f, &answer);
    assert_int_equal(
        client_post(&f, &answer, "/v1/messages?wait=5", "{\"id\":\"s2\",\"text\":\"U1 deux\"}"),
        200);
    buf_reset(&events); // where it was: 2 is not sent again, 3 is
    fd = stream_open(&f, "/v1/stream?since=0", "Last-Event-ID: 2\r\n");
    client_read(fd, &events, "id: 3\n");
    expect(&events, "id: 3\n");
    assert_null(strstr(events.data, "id: 2\n"));
    int second = stream_open(&f, "/v1/stream?since=0&level=U3", ""),
        third = stream_open(&f, "/v1/stream", "");
    buf_reset(&events);
    client_read(third, &events, "event: status");
    buf_reset(&events);
    client_read(second, &events, "event: status");
    expect(&events, "id: 2\n"); // U1 is not for this one; verdict 1 was replaced by 2
    assert_null(strstr(events.data, "id: 3\n"));
    assert_int_equal(client_request(&f, &answer, "GET", "/v1/stream", "", NULL), 429);
    fixture_stop(&f); // with the streams open
    buf_reset(&events);
    client_read(third, &events, NULL);
    close(fd);
    close(second);
    close(third);
    fixture_remove(&f);
    buf_release(&answer);
    buf_release(&events);
}

// Acknowledged, then the server goes before any verdict: the next one judges them first.
static void test_restart(void **state) {
    (void)state;
    struct fixture f = {0};
    struct buf answer = {0};
    fixture_start(&f, 0, TRACE_NEVER);
    f.hold = true;
    assert_int_equal(client_post(&f, &answer, "/v1/messages", "{\"id\":\"r0\",\"text\":\"U1\"}"),
                     200);
    pause_ms(50); // the worker has r0 in hand; what follows waits in the store
    assert_int_equal(
        client_post(&f, &answer, "/v1/messages",
                    "{\"id\":\"r1\",\"text\":\"U4 un\"}\n{\"id\":\"r2\",\"text\":\"U2 deux\"}"),
        200);
    client_request(&f, &answer, "GET", "/v1/messages/r2", "", NULL);
    expect(&answer, "\"state\":\"received\",\"verdict\":null");
    client_request(&f, &answer, "GET", "/healthz", "", NULL);
    expect(&answer, "\"queue_depth\":3");
    f.hold = false;
    fixture_stop(&f);
    fixture_start(&f, 0, TRACE_NEVER);
    for (int i = 0; i < 200; i++) {
        client_request(&f, &answer, "GET", "/v1/messages/r2", "", NULL);
        if (strstr(answer.data, "\"state\":\"judged\"") != NULL) break;
        pause_ms(10);
    }
    expect(&answer, "\"state\":\"judged\"");
    client_request(&f, &answer, "GET", "/v1/verdicts?since=0", "", NULL);
    expect(&answer, "\"next\":3");
    fixture_remove(&f);
    buf_release(&answer);
}

static void test_disk_full(void **state) {
    (void)state;
    struct fixture f = {0};
    struct buf answer = {0}, body = {0};
    fixture_start(&f, 60, TRACE_NEVER);
    int status = 200, n_ok = 0;
    for (; status == 200 && n_ok < 200; n_ok++) {
        buf_reset(&body);
        buf_printf(&body, "{\"id\":\"q%d\",\"text\":\"U0 %04000d\"}", n_ok, 1);
        status = client_post(&f, &answer, "/v1/messages", body.data);
    }
    print_message("quota of 60 pages: %d accepted, then:\n%s\n", n_ok - 1,
                  strstr(answer.data, "\r\n\r\n") + 4);
    assert_int_equal(status, 503);
    expect(&answer, "nothing was stored");
    assert_null(strstr(answer.data, "\"accepted\""));
    char path[64];
    snprintf(path, sizeof path, "/v1/messages/q%d", n_ok - 1);
    assert_int_equal(client_request(&f, &answer, "GET", path, "", NULL), 404);
    assert_int_equal(client_request(&f, &answer, "GET", "/healthz", "", NULL), 503);
    expect(&answer, "\"store\":\"failing\"");
    snprintf(path, sizeof path, "/v1/messages/q%d", n_ok - 2); // what was acknowledged is there
    assert_int_equal(client_request(&f, &answer, "GET", path, "", NULL), 200);
    fixture_remove(&f);
    buf_release(&answer);
    buf_release(&body);
}

enum { CLIENTS = 8, POSTS = 40 };
struct client {
    struct fixture *fixture;
    int client_i, n_ok;
    pthread_t thread;
};

static void *client_main(void *context) {
    struct client *c = context;
    struct buf answer = {0};
    for (int i = 0; i < POSTS; i++) {
        char body[128];
        snprintf(body, sizeof body, "{\"id\":\"n%d-%d\",\"text\":\"U%d message\"}", c->client_i, i,
                 i % 5);
        c->n_ok += client_post(c->fixture, &answer,
                               i % 8 == 0 ? "/v1/messages?wait=20" : "/v1/messages", body) == 200;
    }
    buf_release(&answer);
    return NULL;
}

static void test_many(void **state) {
    (void)state;
    struct fixture f = {0};
    struct client clients[CLIENTS];
    struct store_counts counts;
    fixture_start(&f, 0, TRACE_AUTO);
    int64_t start_ns = clock_monotonic_ns();
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.fixture = &f, .client_i = i};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_main, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_int_equal(clients[i].n_ok, POSTS);
    }
    double posts_s = (double)(clock_monotonic_ns() - start_ns) / 1e9;
    for (int i = 0; i < 2000; i++) {
        store_counts(f.store, &counts);
        if (counts.received == 0 && counts.trace_due == 0) break;
        pause_ms(10);
    }
    print_message("%d clients, %d messages accepted in %.2f s (%.0f a second)\n", CLIENTS,
                  CLIENTS * POSTS, posts_s, CLIENTS * POSTS / posts_s);
    assert_int_equal(counts.messages, CLIENTS * POSTS);
    assert_int_equal(counts.received + counts.trace_due + counts.failed, 0);
    assert_int_equal(counts.levels[4], CLIENTS * POSTS / 5);
    fixture_remove(&f);
}

static void *post_waiting(void *context) {
    struct client *c = context;
    struct buf answer = {0};
    c->n_ok = client_post(c->fixture, &answer, "/v1/messages?wait=60",
                          "{\"id\":\"w\",\"text\":\"U1 SLOW\"}");
    buf_release(&answer);
    return NULL;
}

// Stopping while a POST waits for its verdict and a chat is being written: both get an answer.
static void test_stop(void **state) {
    (void)state;
    struct fixture f = {0};
    struct client c = {.fixture = &f};
    fixture_start(&f, 0, TRACE_NEVER);
    assert_int_equal(pthread_create(&c.thread, NULL, post_waiting, &c), 0);
    pause_ms(100);
    fixture_stop(&f);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.n_ok, 200); // acknowledged all the same
    fixture_remove(&f);
}

// A long body comes in pieces, is refused as a whole when it is too long, and 1,000 messages fit in
// one.
static void test_bodies(void **state) {
    (void)state;
    struct fixture f = {0};
    struct buf answer = {0}, body = {0};
    fixture_start(&f, 0, TRACE_NEVER);
    for (int i = 0; i < 1000; i++)
        buf_printf(&body, "{\"id\":\"l%d\",\"text\":\"U%d ligne\"}\n", i, i % 5);
    assert_int_equal(client_post(&f, &answer, "/v1/messages?wait=30", body.data), 200);
    expect(&answer, "{\"accepted\":1000,");
    expect(&answer, "\"verdicts\":[{\"id\":\"l0\"");
    buf_reset(&body);
    buf_printf(&body,
               "{\"id\":\"big\",\"text\":\"%01100000d\"}\n{\"id\":\"small\",\"text\":\"U1\"}", 0);
    assert_int_equal(client_post(&f, &answer, "/v1/messages", body.data), 200);
    expect(&answer, "\"ids\":[\"small\"]");
    expect(&answer, "the limit is 1048576");
    buf_reset(&body);
    // chunked, so that the length is not declared
    int fd = client_open(&f);
    const char head[] = "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n";
    client_send(fd, head, sizeof head - 1);
    char *chunk = calloc(1, 1 << 20);
    assert_non_null(chunk);
    memset(chunk, ' ', 1 << 20);
    for (int i = 0; i < 17; i++) {
        client_send(fd, "100000\r\n", 8);
        client_send(fd, chunk, 1 << 20);
        client_send(fd, "\r\n", 2);
    }
    client_send(fd, "0\r\n\r\n", 5);
    buf_reset(&answer);
    client_read(fd, &answer, NULL);
    expect(&answer, "413");
    close(fd);
    free(chunk);
    fixture_remove(&f);
    buf_release(&answer);
    buf_release(&body);
}

static void test_port_in_use(void **state) {
    (void)state;
    struct fixture f = {0};
    struct error err = {0}, host = {0};
    struct control *second;
    fixture_start(&f, 0, TRACE_NEVER);
    struct control_options options = {.store = f.store,
                                      .door = &f.door,
                                      .port = control_port(f.control),
                                      .judge = {&f, fake_run, "fake", "00ff", 4}};
    assert_false(control_open(&second, &options, &err));
    print_message("%s\n", err.text);
    assert_non_null(strstr(err.text, "Address already in use"));
    options.host = "no.such.host.invalid";
    assert_false(control_open(&second, &options, &host));
    fixture_remove(&f);
}

static void test_replay(void **state) {
    (void)state;
    struct fixture f = {0};
    struct error err = {0}, bad = {0}, missing = {0};
    struct replay *replay;
    struct store_counts counts = {0};
    char path[128];
    fixture_start(&f, 0, TRACE_NEVER);
    snprintf(path, sizeof path, "%s/day.ndjson", f.folder);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"t\":2,\"id\":\"e2\",\"text\":\"U4 deux\"}\n\n{\"t\":0.5,\"id\":\"e1\",\"text\":\"U1 "
          "un\"}\n",
          file);
    fclose(file);
    if (!replay_open(&replay, f.control, path, 100, &err)) fail_msg("%s", err.text);
    for (int i = 0; i < 500 && counts.levels[4] == 0; i++) {
        pause_ms(10);
        store_counts(f.store, &counts);
    }
    replay_close(replay);
    struct buf answer = {0};
    client_request(&f, &answer, "GET", "/v1/verdicts?since=0", "", NULL);
    expect(&answer, "-e1\"");
    expect(&answer, "\"exercise\":true}");
    assert_true(strstr(answer.data, "-e1\"") < strstr(answer.data, "-e2\""));
    file = fopen(path, "w");
    assert_non_null(file);
    fputs("{\"t\":0,\"text\":\"a\"}\n{\"text\":\"sans heure\"}\n", file);
    fclose(file);
    assert_false(replay_open(&replay, f.control, path, 1, &bad));
    print_message("%s\n", bad.text);
    assert_non_null(strstr(bad.text, "line 2"));
    unlink(path);
    assert_false(replay_open(&replay, f.control, path, 1, &missing));
    fixture_remove(&f);
    buf_release(&answer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stream),    cmocka_unit_test(test_restart),
        cmocka_unit_test(test_disk_full), cmocka_unit_test(test_many),
        cmocka_unit_test(test_stop),      cmocka_unit_test(test_bodies),
        cmocka_unit_test(test_replay),    cmocka_unit_test(test_port_in_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
