// tests/core/test_buf.c - appends, the limit, failure remembered, JSON strings.
#include "check.h"
#include "core/buf.h"

#include <stdlib.h>
#include <string.h>

static void test_appends(void) {
    struct buf b = {0};
    buf_append_str(&b, "");
    CHECK(buf_ok(&b) && b.data != NULL && b.data[0] == '\0', "empty append");
    for (int i = 0; i < 1000; i++) {
        buf_append_char(&b, (char)('a' + i % 26));
        buf_printf(&b, "%03d", i);
    }
    CHECK(buf_ok(&b) && b.n_bytes == 4000 && strlen(b.data) == 4000, "%zu bytes", b.n_bytes);
    CHECK(memcmp(b.data, "a000b001", 8) == 0 && memcmp(b.data + 3996, "l999", 4) == 0, "%.8s",
          b.data);
    buf_append(&b, "\0x", 2);
    CHECK(b.n_bytes == 4002 && b.data[4001] == 'x', "NUL in the middle");
    char *taken = buf_take(&b);
    CHECK(taken != NULL && b.data == NULL && b.n_bytes == 0, "take");
    free(taken);
    taken = buf_take(&b);
    CHECK(taken != NULL && taken[0] == '\0', "an empty buffer gives an empty string");
    free(taken);
}

static void test_limit(void) {
    struct buf b;
    buf_init(&b, 10);
    buf_append(&b, "0123456789", 10);
    CHECK(buf_ok(&b) && b.n_bytes == 10, "exactly the limit");
    buf_append_char(&b, 'x');
    CHECK(!buf_ok(&b) && b.n_bytes == 10, "past the limit");
    buf_reset(&b);
    buf_append_str(&b, "again");
    CHECK(buf_ok(&b) && strcmp(b.data, "again") == 0, "after reset");
    buf_printf(&b, "%0100d", 1);
    buf_append_str(&b, "x");
    CHECK(!buf_ok(&b) && strcmp(b.data, "again") == 0, "failure is remembered: %s", b.data);
    buf_append(&b, "x", SIZE_MAX);
    CHECK(!buf_ok(&b), "size overflow");
    CHECK(buf_take(&b) == NULL && b.data == NULL, "a failed buffer gives NULL");
    buf_release(&b);
}

static void test_json_string(void) {
    static const struct {
        const char *text;
        size_t n;
        const char *want;
    } cases[] = {
        {"", 0, "\"\""},
        {"a\"b\\c/", 6, "\"a\\\"b\\\\c/\""},
        {"\n\t\r\x01\x7f\0", 6, "\"\\n\\t\\u000d\\u0001\\u007f\\u0000\""},
        {"gar\xC3\xA9 \xF0\x9F\x9A\x86", 10, "\"gar\xC3\xA9 \xF0\x9F\x9A\x86\""},
        {"\xC3", 1, "\"\xEF\xBF\xBD\""},
        {"\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct buf b = {0};
        buf_append_json_string(&b, cases[i].text, cases[i].n);
        CHECK(strcmp(b.data, cases[i].want) == 0, "case %lld: %s, want %s", (long long)i, b.data,
              cases[i].want);
        buf_release(&b);
    }
}

int main(void) {
    test_appends();
    test_limit();
    test_json_string();
    return n_failed > 0;
}
