// tests/control/test_http.c - runs the requests of http.txt against a server with a fake judge.
#include "server_fixture.h"

#include "core/file.h"

struct http_case {
    char name[128], method[16], path[512];
    struct buf headers, body;
    bool has_body;
    int line, n_wrong;
    struct buf answer; // empty until sent
};

// "\xE9" in a body line is that byte.
static void body_line_add(struct http_case *c, const char *line) {
    if (c->has_body) buf_append_char(&c->body, '\n');
    c->has_body = true;
    for (const char *p = line; *p != '\0'; p++) {
        unsigned byte;
        if (p[0] == '\\' && p[1] == 'x' && sscanf(p + 2, "%2x", &byte) == 1) {
            buf_append_char(&c->body, (char)byte);
            p += 3;
        } else {
            buf_append_char(&c->body, *p);
        }
    }
}

static void case_check(struct fixture *f, struct http_case *c, int line, const char *want) {
    const char *text = want + 2;
    if (want[0] == '=') {
        int status = client_request(f, &c->answer, c->method, c->path,
                                    c->headers.data ? c->headers.data : "",
                                    c->has_body ? c->body.data : NULL);
        if (status == atoi(text)) return;
        c->n_wrong++;
        print_error("tests/control/http.txt:%d: %s: status %d, want %s\n%s\n", line, c->name,
                    status, text, c->answer.data ? c->answer.data : "(nothing)");
        return;
    }
    const char *answer = c->answer.data ? c->answer.data : "";
    if ((strstr(answer, text) != NULL) == (want[0] == '~')) return;
    c->n_wrong++;
    print_error("tests/control/http.txt:%d: %s: want %s\n%s\n", line, c->name, want, answer);
}

static void case_release(struct http_case *c) {
    buf_release(&c->headers);
    buf_release(&c->body);
    buf_release(&c->answer);
}

static void test_table(void **state) {
    (void)state;
    struct fixture f = {0};
    struct error err = {0};
    struct http_case c = {0};
    char *text, *rest;
    int n_cases = 0, n_wrong = 0, line_i = 0;
    if (!file_read(&text, NULL, "tests/control/http.txt", 0, &err)) fail_msg("%s", err.text);
    fixture_start(&f, 0, TRACE_AUTO);
    rest = text;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        line_i++;
        if (strncmp(line, "## ", 3) == 0) {
            n_wrong += c.n_wrong;
            case_release(&c);
            c = (struct http_case){.line = line_i};
            snprintf(c.name, sizeof c.name, "%s", line + 3);
            n_cases++;
        } else if (line[0] == '>') {
            assert_int_equal(sscanf(line, "> %15s %511s", c.method, c.path), 2);
        } else if (strncmp(line, "H: ", 3) == 0) {
            buf_printf(&c.headers, "%s\r\n", line + 3);
        } else if (strncmp(line, "B: ", 3) == 0) {
            body_line_add(&c, line + 3);
        } else if (line[0] == '=' || line[0] == '~' || line[0] == '!') {
            case_check(&f, &c, line_i, line);
        }
    }
    n_wrong += c.n_wrong;
    case_release(&c);
    free(text);
    fixture_remove(&f);
    print_message("%d cases, %d wrong\n", n_cases, n_wrong);
    assert_int_equal(n_wrong, 0);
    assert_true(n_cases > 50);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_table)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
