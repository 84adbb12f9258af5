// Records of the label guide: what is read, and what each malformed line says.
#include "core/json.h"
#include "triage/labels.h"

#include <stdio.h>
#include <string.h>

static int n_failed;
#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);                \
            n_failed++;                                                                            \
        }                                                                                          \
    } while (0)

static bool take(struct label_record *r, const char *line, struct error *err) {
    json_t *json;
    return json_parse(&json, line, strlen(line), "line 1", err) &&
           label_record_take(r, json, "line 1", err);
}

static void test_whole(void) {
    struct label_record r;
    struct error err = {0};
    bool ok = take(
        &r,
        "{\"id\":\"a01-0007\",\"text\":\"une dame vient de s'évanouir, la "
        "8\",\"lang\":\"fr\",\"channel\":\"sms\","
        "\"urgency\":\"U3\",\"class\":\"medical\",\"distress\":{\"fear\":2,\"shock\":3},\"source\":"
        "\"witness\","
        "\"flags\":[\"past\",\"irony\"],\"place\":{\"station\":\"République\",\"line\":\"M8\"},"
        "\"evidence\":[\"vient de "
        "s'évanouir\"],\"for\":\"F.\",\"against\":\"A.\",\"twin\":\"a01-0008\",\"t\":3}",
        &err);
    CHECK(ok);
    if (!ok) return;
    CHECK(r.level == 3 && strcmp(label_classes[r.class_i], "medical") == 0 && r.channel == 3);
    CHECK(strcmp(label_sources[r.source], "witness") == 0);
    CHECK(r.distress[0] == 2 && r.distress[6] == 3 && r.distress[1] == 0);
    CHECK(r.flags[1] && r.flags[3] && !r.flags[0]);
    CHECK(strcmp(r.station, "République") == 0 && strcmp(r.line, "M8") == 0 && r.vehicle == NULL);
    CHECK(r.n_evidence == 1 && strcmp(r.evidence[0], "vient de s'évanouir") == 0);
    CHECK(strcmp(r.twin, "a01-0008") == 0 && r.incident == NULL);
    CHECK(r.text_bytes == strlen(r.text));
    label_record_release(&r);
    CHECK(r.json == NULL);
    label_record_release(&r); // twice is fine
}

static void test_refused(void) {
#define HEAD "\"id\":\"x\",\"text\":\"abc\","
#define GOOD "\"urgency\":\"U1\",\"class\":\"traffic\",\"source\":\"witness\""
    static const struct {
        const char *line, *says; // NULL: accepted
    } cases[] = {
        {"{" HEAD GOOD "}", NULL},
        {"{" HEAD GOOD ",\"place\":null,\"evidence\":null,\"distress\":null}", NULL},
        {"{" HEAD GOOD ",\"evidence\":[\"a\",\"b\",\"c\",\"abc\"]}", NULL},
        {"[1]", "array"},
        {"{" GOOD "}", "\"id\""},
        {"{\"id\":\"x\"," GOOD "}", "\"text\""},
        {"{" HEAD "\"urgency\":\"U5\",\"class\":\"traffic\",\"source\":\"witness\"}", "U5"},
        {"{" HEAD "\"urgency\":3,\"class\":\"traffic\",\"source\":\"witness\"}", "integer"},
        {"{" HEAD "\"urgency\":\"U1\",\"class\":\"trafic\",\"source\":\"witness\"}", "trafic"},
        {"{" HEAD "\"urgency\":\"U1\",\"class\":\"traffic\"}", "\"source\""},
        {"{" HEAD GOOD ",\"channel\":\"fax\"}", "fax"},
        {"{" HEAD GOOD ",\"distress\":{\"fear\":4}}", "fear"},
        {"{" HEAD GOOD ",\"distress\":{\"joy\":1}}", "joy"},
        {"{" HEAD GOOD ",\"distress\":[1]}", "array"},
        {"{" HEAD GOOD ",\"flags\":[\"ironic\"]}", "ironic"},
        {"{" HEAD GOOD ",\"flags\":[7]}", "integer"},
        {"{" HEAD GOOD ",\"flags\":\"past\"}", "string"},
        {"{" HEAD GOOD ",\"place\":{\"station\":7}}", "station"},
        {"{" HEAD GOOD ",\"evidence\":[\"zzz\"]}", "zzz"},
        {"{" HEAD GOOD ",\"evidence\":[\"\"]}", "empty"},
        {"{" HEAD GOOD ",\"evidence\":[\"a\",\"a\",\"a\",\"a\",\"a\"]}", "at most 4"},
    };
    for (int64_t i = 0; i < COUNT_OF(cases); i++) {
        struct label_record r;
        struct error err = {0};
        bool ok = take(&r, cases[i].line, &err);
        if (ok != (cases[i].says == NULL) || (!ok && strstr(err.text, cases[i].says) == NULL)) {
            fprintf(stderr, "%s:%d: case %d: got %d \"%s\", want \"%s\"\n", __FILE__, __LINE__,
                    (int)i, ok, err.text, cases[i].says == NULL ? "accepted" : cases[i].says);
            n_failed++;
        }
        if (ok) label_record_release(&r);
    }
}

int main(void) {
    test_whole();
    test_refused();
    CHECK(label_find(label_levels, N_LEVELS, "U4") == 4);
    CHECK(label_find(label_levels, N_LEVELS, "u4") == -1);
    return n_failed > 0;
}
