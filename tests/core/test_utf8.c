// tests/core/test_utf8.c - RFC 3629: what is a character, what is not.
#include "check.h"
#include "core/utf8.h"

#include <string.h>

static void test_sequences(void) {
    static const struct {
        const char *s;
        size_t n, want;
        uint32_t codepoint;
    } cases[] = {
        {"", 0, 0, 0},
        {"\0", 1, 1, 0},
        {"A", 1, 1, 'A'},
        {"\x7F", 1, 1, 0x7F},
        {"\xC2\x80", 2, 2, 0x80},
        {"\xDF\xBF", 2, 2, 0x7FF},
        {"\xE0\xA0\x80", 3, 3, 0x800},
        {"\xED\x9F\xBF", 3, 3, 0xD7FF},
        {"\xEE\x80\x80", 3, 3, 0xE000},
        {"\xEF\xBF\xBF", 3, 3, 0xFFFF},
        {"\xF0\x90\x80\x80", 4, 4, 0x10000},
        {"\xF4\x8F\xBF\xBF", 4, 4, 0x10FFFF},
        // truncated
        {"\xC2", 1, 0, 0},
        {"\xE2\x82", 2, 0, 0},
        {"\xF0\x9F\x9A", 3, 0, 0},
        // a continuation alone, a lead followed by a lead
        {"\x80", 1, 0, 0},
        {"\xC2\xC2", 2, 0, 0},
        {"\xE2\x82\x41", 3, 0, 0},
        // overlong
        {"\xC0\x80", 2, 0, 0},
        {"\xC1\xBF", 2, 0, 0},
        {"\xE0\x9F\xBF", 3, 0, 0},
        {"\xF0\x8F\xBF\xBF", 4, 0, 0},
        // surrogates, too large, bytes that never are
        {"\xED\xA0\x80", 3, 0, 0},
        {"\xED\xBF\xBF", 3, 0, 0},
        {"\xF4\x90\x80\x80", 4, 0, 0},
        {"\xF8\x88\x80\x80", 4, 0, 0},
        {"\xFF", 1, 0, 0},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        uint32_t c = 12345;
        size_t n = utf8_decode(cases[i].s, cases[i].n, &c);
        CHECK(n == cases[i].want, "case %lld: %zu bytes, want %zu", (long long)i, n, cases[i].want);
        CHECK(c == (n > 0 ? cases[i].codepoint : 12345), "case %lld: U+%04X", (long long)i, c);
    }
}

static void test_round_trip(void) {
    char out[4];
    uint32_t c;
    for (uint32_t i = 0; i <= 0x10FFFF; i++) {
        size_t n = utf8_encode(i, out);
        bool surrogate = i >= 0xD800 && i <= 0xDFFF;
        if (utf8_decode(out, n, &c) != n || c != (surrogate ? 0xFFFD : i)) {
            CHECK(false, "U+%04X does not come back", i);
            return;
        }
    }
    CHECK(utf8_encode(0x110000, out) == 3 && memcmp(out, "\xEF\xBF\xBD", 3) == 0, "past U+10FFFF");
}

static void test_text(void) {
    size_t bad = 99;
    CHECK(utf8_valid("", 0, &bad) && utf8_valid("d\xC3\xA9j\xC3\xA0", 6, &bad) && bad == 99,
          "valid text refused");
    CHECK(!utf8_valid("ab\xE2\x82", 4, &bad) && bad == 2, "bad offset %zu", bad);
    CHECK(!utf8_valid("\xFF", 1, NULL), "NULL offset");
    CHECK(utf8_length("d\xC3\xA9j\xC3\xA0", 6) == 4, "length");
    CHECK(utf8_length("a\xFF\xE2\x82z", 5) == 5, "invalid bytes count one each");
}

int main(void) {
    test_sequences();
    test_round_trip();
    test_text();
    return n_failed > 0;
}
