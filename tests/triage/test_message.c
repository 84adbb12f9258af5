// Contract 3: every malformed line is refused with a sentence, ids are kept, verdicts are the JSON
// of docs/schema/verdict.json.
#include "core/json.h"
#include "triage/message.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define ID255                                                                                      \
    "1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"     \
    "9012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"     \
    "7890123456789012345678901234567890123456789012345678901234567890123456789012345"

static void test_table(void **state) {
    (void)state;
    static const struct {
        const char *line, *id;
        enum error_code code; // ERR_NONE: accepted
        const char *says;     // in the error, or the text read
    } cases[] = {
        {"{\"text\":\"bonjour\"}", "line-3", ERR_NONE, "bonjour"},
        {"{\"id\":\"a\",\"text\":\"b\",\"likes\":[1,{\"x\":null}],\"lang\":\"fr\"}", "a", ERR_NONE,
         "b"},
        {"{\"id\":12,\"text\":\"b\"}", "12", ERR_NONE, "b"},
        {"{\"id\":-9223372036854775808,\"text\":\"b\"}", "-9223372036854775808", ERR_NONE, "b"},
        {"{\"id\":null,\"text\":\"b\"}", "line-3", ERR_NONE, "b"},
        {"{\"id\":\"" ID255 "x\",\"text\":\"b\"}", ID255 "x", ERR_NONE, "b"},
        {"  {\"text\" : \"\\u00e9t\\u00e9 \\ud83d\\ude00\"} \r", "line-3", ERR_NONE, "été 😀"},
        {"{\"text\":\" a \"}", "line-3", ERR_NONE, " a "},
        {"{\"text\":\"<|verdict|>\"}", "line-3", ERR_NONE, "<|verdict|>"},
        {"{\"text\":\"b\",\"channel\":null,\"received_at\":null,\"author\":null}", "line-3",
         ERR_NONE, "b"},
        {"{\"text\":\"b\",\"channel\":\"pigeon\"}", "line-3", ERR_NONE, "b"},
        {"", "line-3", ERR_INPUT, "line-3"},
        {"   ", "line-3", ERR_INPUT, "line-3"},
        {"{", "line-3", ERR_INPUT, "line-3"},
        {"{\"text\":\"b\"", "line-3", ERR_INPUT, "line-3"},
        {"{\"text\":\"b\"} x", "line-3", ERR_INPUT, "line-3"},
        {"{\"text\":\"b\"}{\"text\":\"b\"}", "line-3", ERR_INPUT, "line-3"},
        {"{'text':'b'}", "line-3", ERR_INPUT, "line-3"},
        {"{\"text\":\"b\",}", "line-3", ERR_INPUT, "line-3"},
        {"{\"text\":\"b\",\"text\":\"c\"}", "line-3", ERR_INPUT, "duplicate"},
        {"[]", "line-3", ERR_INPUT, "array"},
        {"\"text\"", "line-3", ERR_INPUT, "string"},
        {"null", "line-3", ERR_INPUT, "null"},
        {"12", "line-3", ERR_INPUT, "integer"},
        {"{}", "line-3", ERR_INPUT, "\"text\""},
        {"{\"id\":\"a\"}", "a", ERR_INPUT, "\"text\""},
        {"{\"id\":7}", "7", ERR_INPUT, "\"text\""},
        {"{\"id\":\"a\",\"text\":null}", "a", ERR_INPUT, "\"text\""},
        {"{\"id\":\"a\",\"text\":12}", "a", ERR_INPUT, "integer"},
        {"{\"id\":\"a\",\"text\":[\"b\"]}", "a", ERR_INPUT, "array"},
        {"{\"id\":\"a\",\"text\":{}}", "a", ERR_INPUT, "object"},
        {"{\"id\":\"a\",\"text\":true}", "a", ERR_INPUT, "\"text\""},
        {"{\"id\":\"a\",\"text\":\"\"}", "a", ERR_INPUT, "empty"},
        {"{\"id\":\"a\",\"text\":\" \\t\\r\\n \"}", "a", ERR_INPUT, "empty"},
        {"{\"id\":\"a\",\"text\":\"b\\u0000c\"}", "line-3", ERR_INPUT, "line-3"},
        {"{\"id\":\"a\",\"text\":\"b\\ud800c\"}", "line-3", ERR_INPUT, "line-3"},
        {"{\"id\":\"\",\"text\":\"b\"}", "line-3", ERR_INPUT, "\"id\""},
        {"{\"id\":1.5,\"text\":\"b\"}", "line-3", ERR_INPUT, "real"},
        {"{\"id\":true,\"text\":\"b\"}", "line-3", ERR_INPUT, "\"id\""},
        {"{\"id\":[1],\"text\":\"b\"}", "line-3", ERR_INPUT, "array"},
        {"{\"id\":\"" ID255 "xy\",\"text\":\"b\"}", "line-3", ERR_LIMIT, "257"},
        {"{\"id\":99999999999999999999,\"text\":\"b\"}", "line-3", ERR_INPUT, "line-3"},
        {"{\"id\":\"a\",\"text\":\"b\",\"channel\":3}", "a", ERR_INPUT, "\"channel\""},
        {"{\"id\":\"a\",\"text\":\"b\",\"author\":{}}", "a", ERR_INPUT, "\"author\""},
        {"{\"id\":\"a\",\"text\":\"b\",\"received_at\":12}", "a", ERR_INPUT, "\"received_at\""},
        {"{\"id\":\"a\",\"text\":\"b\xff\"}", "line-3", ERR_INPUT, "0xff"},
        {"{\"id\":\"a\",\"text\":\"\xc0\xaf\"}", "line-3", ERR_INPUT, "0xc0"},
        {"{\"id\":\"a\",\"text\":\"\xed\xa0\x80\"}", "line-3", ERR_INPUT, "0xed"},
        {"\xef\xbb\xbf{\"id\":\"a\",\"text\":\"b\"}", "line-3", ERR_INPUT, "line-3"}, // a BOM
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct arena arena = {0};
        struct error err = {0};
        struct message m;
        const char *line = cases[i].line;
        char *exact = malloc(strlen(line) + 1); // without its NUL: an exact heap block under ASan
        assert_non_null(exact);
        memcpy(exact, line, strlen(line));
        bool ok = message_parse(&m, &arena, exact, strlen(line), "line-3", &err);
        const char *seen = ok ? m.text : err.text;
        if (ok != (cases[i].code == ERR_NONE) || err.code != cases[i].code ||
            strcmp(m.id, cases[i].id) != 0 ||
            (ok ? strcmp(seen, cases[i].says) != 0 : strstr(seen, cases[i].says) == NULL))
            fail_msg("case %d: %.80s\n got %s id %s \"%s\"\n want %s id %s \"%s\"", (int)i, line,
                     error_code_name(err.code), m.id, seen, error_code_name(cases[i].code),
                     cases[i].id, cases[i].says);
        if (ok) assert_int_equal(m.text_bytes, strlen(m.text));
        struct buf b = {0};
        if (!ok) { // what is answered is JSON whatever the line held
            json_t *json;
            struct error none = {0};
            verdict_append_error_json(&b, m.id, &err);
            if (!json_parse(&json, b.data, b.n_bytes, "answer", &none)) fail_msg("%s", none.text);
            assert_string_equal(json_string_value(json_object_get(json, "id")), cases[i].id);
            const json_t *error = json_object_get(json, "error");
            assert_string_equal(json_string_value(json_object_get(error, "code")),
                                error_code_name(cases[i].code));
            assert_true(json_is_string(json_object_get(error, "message")));
            json_decref(json);
        }
        buf_release(&b);
        free(exact);
        arena_release(&arena);
    }
}

static void test_fields(void **state) {
    (void)state;
    struct arena arena = {0};
    struct error err = {0};
    struct message m;
    const char *line = "{\"id\":\"m1\",\"text\":\"t\",\"channel\":\"sms\",\"author\":\"Zoé\","
                       "\"received_at\":\"2026-06-17T08:00:00Z\"}";
    if (!message_parse(&m, &arena, line, strlen(line), "x", &err)) fail_msg("%s", err.text);
    assert_int_equal(m.channel, 3);
    assert_string_equal(m.author, "Zoé");
    assert_string_equal(m.received_at, "2026-06-17T08:00:00Z");
    assert_true(m.id_given);
    if (!message_parse(&m, &arena, "{\"text\":\"t\"}", 12, "x", &err)) fail_msg("%s", err.text);
    assert_true(m.channel == -1 && m.author == NULL && m.received_at == NULL && !m.id_given);
    arena_release(&arena);
}

// {"text":"aaa..."} with n_text bytes of text, padded with spaces to n_line.
static void sized(int64_t n_text, int64_t n_line, enum error_code want, const char *says) {
    struct buf b = {0};
    struct arena arena = {0};
    struct error err = {0};
    struct message m;
    buf_append_str(&b, "{\"text\":\"");
    for (int64_t i = 0; i < n_text; i++) buf_append_char(&b, 'a');
    buf_append_str(&b, "\"}");
    while ((int64_t)b.n_bytes < n_line) buf_append_char(&b, ' ');
    assert_true(buf_ok(&b));
    bool ok = message_parse(&m, &arena, b.data, b.n_bytes, "big", &err);
    if (ok != (want == ERR_NONE) || err.code != want || (!ok && strstr(err.text, says) == NULL))
        fail_msg("%lld of text, %lld of line: got %d \"%s\"", (long long)n_text, (long long)n_line,
                 (int)err.code, err.text);
    buf_release(&b);
    arena_release(&arena);
}

static void test_limits(void **state) {
    (void)state;
    sized(MESSAGE_TEXT_LIMIT_BYTES, 0, ERR_NONE, "");
    sized(MESSAGE_TEXT_LIMIT_BYTES + 1, 0, ERR_LIMIT, "65537");
    sized(3, MESSAGE_LINE_LIMIT_BYTES, ERR_NONE, "");
    sized(3, MESSAGE_LINE_LIMIT_BYTES + 1, ERR_LIMIT, "1048577");
}

static void test_no_memory(void **state) {
    (void)state;
    const char *line = "{\"id\":\"m1\",\"text\":\"t\",\"channel\":\"sms\",\"author\":\"Zoé\","
                       "\"received_at\":\"2026\"}";
    bool done = false;
    for (size_t limit = 1; limit < 1 << 20 && !done; limit *= 2) {
        struct arena arena;
        struct error err = {0};
        struct message m;
        arena_init(&arena, limit);
        done = message_parse(&m, &arena, line, strlen(line), "x", &err);
        assert_non_null(m.id);
        if (!done) assert_int_equal(err.code, ERR_NOMEM);
        arena_release(&arena);
    }
    assert_true(done);
}

// ---------------------------------------------------------------------------------- verdicts
static void check_required(const json_t *value, const json_t *schema, const json_t *defs,
                           const char *where);

// What the schema requires is there, enums hold, nothing is outside `properties`.
static void check_required(const json_t *value, const json_t *schema, const json_t *defs,
                           const char *where) {
    const char *ref = json_string_value(json_object_get(schema, "$ref"));
    if (ref != NULL) schema = json_object_get(defs, ref + strlen("#/$defs/"));
    assert_non_null(schema);
    size_t i;
    json_t *key;
    json_array_foreach(json_object_get(schema, "required"), i, key) {
        if (json_object_get(value, json_string_value(key)) == NULL)
            fail_msg("%s: \"%s\" is required", where, json_string_value(key));
    }
    json_t *allowed = json_object_get(schema, "enum");
    bool among = allowed == NULL;
    json_array_foreach(allowed, i, key) among = among || json_equal(key, value);
    if (!among) fail_msg("%s: value outside the enum", where);
    json_t *low = json_object_get(schema, "minimum"), *high = json_object_get(schema, "maximum");
    if (low != NULL) assert_true(json_number_value(value) >= json_number_value(low));
    if (high != NULL) assert_true(json_number_value(value) <= json_number_value(high));
    const json_t *properties = json_object_get(schema, "properties"),
                 *items = json_object_get(schema, "items");
    json_t *more = json_object_get(schema, "additionalProperties");
    const char *name;
    json_t *field;
    if (json_is_object(value) && (properties != NULL || json_is_object(more))) {
        void *at;
        for (at = json_object_iter((json_t *)(uintptr_t)value); at != NULL;
             at = json_object_iter_next((json_t *)(uintptr_t)value, at)) {
            name = json_object_iter_key(at);
            field = json_object_iter_value(at);
            const json_t *s = json_object_get(properties, name);
            if (s == NULL && json_is_object(more)) s = more;
            if (s == NULL) fail_msg("%s: field \"%s\" is not in the schema", where, name);
            check_required(field, s, defs, name);
        }
    }
    json_array_foreach((json_t *)(uintptr_t)value, i, field) if (items != NULL)
        check_required(field, items, defs, where);
}

static json_t *append_and_parse(const struct message *m, const struct verdict *v) {
    struct buf b = {0};
    struct error err = {0};
    json_t *json;
    verdict_append_json(&b, m, v, "test \"model\"", "abc");
    assert_true(buf_ok(&b));
    assert_null(memchr(b.data, '\n', b.n_bytes));
    if (!json_parse(&json, b.data, b.n_bytes, "verdict", &err))
        fail_msg("%s: %s", err.text, b.data);
    buf_release(&b);
    return json;
}

static void test_verdict(void **state) {
    (void)state;
    const char *text = "une \"dame\" \\ vient\nde s'évanouir 😀 \x01";
    struct message m = {.id = "a\"1", .text = text, .text_bytes = strlen(text), .channel = -1};
    struct verdict v = {.p_level = {0.01f, 0.02f, 0.03f, 0.9f, 0.04f},
                        .level = 3,
                        .class_i = 2,
                        .p_class = 0.75f,
                        .source = 0,
                        .p_source = 0.5f,
                        .n_evidence = 2,
                        .station = "Châtelet",
                        .line = "RER A",
                        .truncated = true,
                        .queue_ms = 1.5f};
    v.distress[0] = 3;
    v.distress[7] = 1;
    v.flags[0] = v.flags[11] = true;
    v.evidence[0] = (struct span){4, 10};
    v.evidence[1] = (struct span){13, (int64_t)strlen(text)};
    v.why_for = strdup("Vu \"par\" l'auteur.");
    v.why_against = strdup("Rien.\tRien.");
    json_t *schema, *json = append_and_parse(&m, &v);
    struct error err = {0};
    if (!json_parse_file(&schema, "docs/schema/verdict.json", &err)) fail_msg("%s", err.text);
    const json_t *defs = json_object_get(schema, "$defs");
    check_required(json, json_object_get(defs, "verdict"), defs, "verdict");
#define AT(object, key) json_object_get(object, key)
    assert_string_equal(json_string_value(AT(json, "id")), "a\"1");
    const json_t *urgency = AT(json, "urgency"), *p = AT(urgency, "p");
    assert_string_equal(json_string_value(AT(urgency, "level")), "U3");
    for (int l = 0; l < N_LEVELS; l++) {
        double got = json_number_value(AT(p, label_levels[l]));
        assert_true(fabs(got - (double)v.p_level[l]) <= 5.1e-5);
    }
    assert_string_equal(json_string_value(AT(AT(json, "class"), "main")), "medical");
    assert_string_equal(json_string_value(AT(AT(json, "source"), "label")), "witness");
    const json_t *distress = AT(json, "distress"), *flags = AT(json, "flags");
    assert_int_equal(json_object_size(distress), 2);
    assert_int_equal(json_integer_value(AT(distress, "fear")), 3);
    assert_int_equal(json_integer_value(AT(distress, "anger")), 1);
    assert_int_equal(json_array_size(flags), 2);
    assert_string_equal(json_string_value(json_array_get(flags, 1)), "resolved");
    assert_string_equal(json_string_value(AT(AT(json, "place"), "station")), "Châtelet");
    const json_t *evidence = AT(json, "evidence");
    assert_int_equal(json_array_size(evidence), 2);
    for (size_t i = 0; i < 2; i++) { // the text is the bytes start..end
        const json_t *e = json_array_get(evidence, i);
        int64_t a = json_integer_value(AT(e, "start")), z = json_integer_value(AT(e, "end"));
        const char *said = json_string_value(AT(e, "text"));
        assert_true((int64_t)strlen(said) == z - a && memcmp(said, text + a, strlen(said)) == 0);
    }
    assert_string_equal(json_string_value(AT(json, "for")), v.why_for);
    assert_string_equal(json_string_value(AT(json, "trace")),
                        "Pour : Vu \"par\" l'auteur.\nContre : Rien.\tRien.");
    assert_string_equal(json_string_value(AT(json, "trace_writer")), "rules");
    assert_true(json_is_true(AT(json, "truncated")));
    json_decref(json);
    verdict_release(&v);
    verdict_release(&v); // twice is fine

    struct verdict empty = {0}; // no trace, no place
    json = append_and_parse(&m, &empty);
    check_required(json, json_object_get(defs, "verdict"), defs, "verdict");
    assert_true(json_is_null(AT(json, "for")) && json_is_null(AT(json, "against")));
    assert_true(json_is_null(AT(json, "trace")) && json_is_null(AT(AT(json, "place"), "line")));
    json_decref(json);

    error_set(&err, ERR_LIMIT, "trop \"long\" \x02");
    struct buf b = {0};
    struct error none = {0};
    verdict_append_error_json(&b, "x", &err);
    if (!json_parse(&json, b.data, b.n_bytes, "failure", &none)) fail_msg("%s", none.text);
    check_required(json, json_object_get(defs, "failure"), defs, "failure");
    json_decref(json);
    buf_release(&b);
    json_decref(schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),   cmocka_unit_test(test_fields),
        cmocka_unit_test(test_limits),  cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_verdict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
