// forge/variant.c - one variant: the plan of the group, then wording, then noise, then the record.
#include "forge/variant.h"

#include "core/json.h"
#include "core/rng.h"
#include "forge/noise.h"
#include "forge/swap.h"
#include "forge/wording.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    struct forge_options options;
} presets[] = {
    {"none", {.swap = 0}},
    {"light",
     {.accents = 0.15,
      .lower = 0.2,
      .punct = 0.1,
      .drop_max = 0.15,
      .slip_max = 0.06,
      .glue_max = 0.25}},
    {"std",
     {.swap = 0.5,
      .minutes = 0.3,
      .synonym = 0.5,
      .fill = 0.15,
      .sms = 0.1,
      .drop = 0.3,
      .drop_max = 0.15,
      .slip = 0.2,
      .slip_max = 0.06,
      .glue = 0.15,
      .glue_max = 0.25,
      .dictation = 0.03,
      .accents = 0.25,
      .lower = 0.3,
      .upper = 0.02,
      .punct = 0.15}},
    // The list measured in the recipe study (docs/results), without the rewordings of std.
    {"recipe",
     {.swap = 0.5,
      .fill = 0.15,
      .sms = 0.1,
      .drop = 0.3,
      .drop_max = 0.15,
      .drop_facts = 1,
      .slip = 0.2,
      .slip_max = 0.06,
      .glue_max = 0.25,
      .accents = 0.25,
      .lower = 0.3,
      .upper = 0.02,
      .punct = 0.15}},
    {"strong",
     {.swap = 0.6,
      .minutes = 0.4,
      .synonym = 0.6,
      .fill = 0.3,
      .sms = 0.25,
      .drop = 0.6,
      .drop_max = 0.3,
      .slip = 0.4,
      .slip_max = 0.06,
      .glue = 0.3,
      .glue_max = 0.25,
      .dictation = 0.05,
      .accents = 0.35,
      .lower = 0.4,
      .upper = 0.03,
      .punct = 0.25}},
};

static const struct {
    const char *name;
    size_t offset;
} option_names[] = {
#define OPTION(name)                                                                               \
    { #name, offsetof(struct forge_options, name) }
    OPTION(swap),  OPTION(minutes),  OPTION(synonym),    OPTION(fill),    OPTION(sms),
    OPTION(drop),  OPTION(drop_max), OPTION(drop_facts), OPTION(slip),    OPTION(slip_max),
    OPTION(glue),  OPTION(glue_max), OPTION(dictation),  OPTION(accents), OPTION(lower),
    OPTION(upper), OPTION(punct),
#undef OPTION
};

bool forge_options_parse(struct forge_options *options, const char *words, struct error *err) {
    *options = presets[2].options;
    for (const char *at = words; *at != '\0';) {
        const char *stop = strchrnul(at, ',');
        char word[64];
        size_t n = (size_t)(stop - at);
        if (n >= sizeof word)
            return error_set(err, ERR_USAGE, "augmentation \"%.40s...\" is not known", at);
        memcpy(word, at, n);
        word[n] = '\0';
        char *equals = strchr(word, '=');
        bool known = false;
        if (equals == NULL) {
            for (int64_t i = 0; i < COUNT_OF(presets); i++)
                if (strcmp(word, presets[i].name) == 0) {
                    *options = presets[i].options;
                    known = true;
                }
        } else {
            *equals = '\0';
            char *end;
            double value = strtod(equals + 1, &end);
            if (end == equals + 1 || *end != '\0' || !(value >= 0 && value <= 1))
                return error_set(err, ERR_USAGE,
                                 "augmentation %s: \"%s\" is not a number from 0 to 1", word,
                                 equals + 1);
            for (int64_t i = 0; i < COUNT_OF(option_names); i++)
                if (strcmp(word, option_names[i].name) == 0) {
                    memcpy((char *)options + option_names[i].offset, &value, sizeof value);
                    known = true;
                }
        }
        if (!known)
            return error_set(
                err, ERR_USAGE,
                "augmentation \"%s\" is not known (none, light, std, recipe, strong, or name=0..1)",
                word);
        at = *stop == ',' ? stop + 1 : stop;
    }
    return true;
}

static bool flagged(const struct label_record *r, const char *flag) {
    return r->flags[label_find(label_flags, N_FLAGS, flag)];
}

// All draws are made whether or not they are used, so that one option does not move the others.
static void noise_apply(struct edit *e, const struct forge_options *o, const struct label_record *r,
                        struct rng *rng) {
    bool french = r->lang == NULL || strcmp(r->lang, "fr") == 0;
    bool synonym = rng_chance(rng, o->synonym), fill = rng_chance(rng, o->fill),
         sms = rng_chance(rng, o->sms);
    bool drop = rng_chance(rng, o->drop), slip = rng_chance(rng, o->slip),
         glue = rng_chance(rng, o->glue);
    bool dictation = rng_chance(rng, o->dictation), accents = rng_chance(rng, o->accents);
    bool lower = rng_chance(rng, o->lower), upper = rng_chance(rng, o->upper),
         punct = rng_chance(rng, o->punct);
    double drop_p = o->drop_max * rng_f64(rng), slip_p = o->slip_max * rng_f64(rng),
           glue_p = o->glue_max * rng_f64(rng);
    bool space = rng_chance(rng, 0.5), facts = rng_chance(rng, o->drop_facts);
    struct rng own[6];
    for (uint64_t i = 0; i < 6; i++) rng_init_stream(&own[i], rng_u64(rng), i);
    // A relay's own words are a form: no greeting, no shorthand in them.
    bool form = flagged(r, "official_relay") || flagged(r, "media") || flagged(r, "injection");
    if (synonym && french) wording_synonyms(e, &own[0], 0.5);
    if (fill && french && !form) wording_fill(e, &own[1]);
    if (sms && french && !form) noise_sms(e, &own[2]);
    if (drop) noise_drop(e, &own[3], drop_p, !facts);
    if (slip) noise_slip(e, &own[4], slip_p);
    if (glue) noise_glue(e, &own[5], glue_p);
    if (dictation) noise_dictation(e);
    if (accents) noise_accents(e);
    if (lower) noise_lower(e);
    else if (upper) noise_upper(e);
    if (punct) noise_punctuation(e, space);
}

// The first n_spans spans of e as JSON strings, without spaces at their ends. The number of them.
static int evidence_take(json_t *array, const struct edit *e, int n_spans) {
    int n = 0;
    const char *text = edit_text(e);
    for (int i = 0; i < n_spans; i++) {
        size_t begin = e->spans[i].begin, end = e->spans[i].end;
        while (begin < end && text[begin] == ' ') begin++;
        while (end > begin && text[end - 1] == ' ') end--;
        if (end <= begin ||
            json_array_append_new(array, json_stringn(text + begin, end - begin)) != 0)
            continue;
        n++;
    }
    return n;
}

static void edit_start(struct edit *e, const char *text) {
    edit_reset(e, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
}

static bool blank(const struct edit *e) {
    return strspn(edit_text(e), " ") == edit_bytes(e);
}

static void set_id(json_t *json, const char *key, const char *id, int variant) {
    char out[320];
    snprintf(out, sizeof out, "%.300s~%d", id, variant);
    json_object_set_new(json, key, json_string(out));
}

// Place fields after the swap, in a new object.
static json_t *place_make(const struct swap_plan *plan, const struct label_record *r) {
    json_t *old = json_object_get(r->json, "place"), *place = json_object();
    const char *keys[2] = {"station", "direction"}, *values[2] = {r->station, r->direction};
    json_object_update(place, old);
    for (int i = 0; i < 2; i++) {
        char *new = values[i] == NULL ? NULL : swap_station_field(plan, values[i]);
        if (new != NULL) json_object_set_new(place, keys[i], json_string(new));
        free(new);
    }
    const char *line = r->line == NULL ? NULL : swap_line_field(plan, r->line);
    if (line != NULL) json_object_set_new(place, "line", json_string(line));
    return place;
}

// Marks where the text writes the station and the line as the fields do, in any case of ASCII
// letters.
static void place_mark(struct edit *e, const json_t *place) {
    const char *keys[2] = {"station", "line"};
    for (int i = 0; i < 2; i++) {
        const char *name = json_string_value(json_object_get(place, keys[i]));
        const char *at = name == NULL || name[0] == '\0' ? NULL : strcasestr(edit_text(e), name);
        if (at == NULL || e->n_spans == EDIT_MAX_SPANS) continue;
        size_t begin = (size_t)(at - edit_text(e));
        e->spans[e->n_spans++] = (struct edit_span){begin, begin + strlen(name)};
    }
}

bool forge_variant(const struct forge *f, int64_t seed_i, int variant, json_t **out,
                   struct error *err) {
    const struct seed *seed = &f->seeds->items[seed_i];
    const struct label_record *r = &seed->record;
    if (variant == 0) {
        *out = json_deep_copy(r->json);
        return *out != NULL || error_set(err, ERR_NOMEM, "forge %s: out of memory", r->id);
    }
    // Twins and incidents share the plan: its draws depend on the group alone.
    const struct seed *first = &f->seeds->items[seed->group];
    struct rng rng, group;
    rng_init_stream(&rng, f->number, seed->id_hash + (uint64_t)variant * 0x9e3779b97f4a7c15u);
    rng_init_stream(&group, f->number + 1,
                    first->id_hash + (uint64_t)variant * 0x9e3779b97f4a7c15u);
    struct swap_plan plan = {0};
    if (rng_chance(&group, f->options.swap))
        swap_plan_make(&plan, f->places, f->seeds, seed_i, (uint64_t)variant, f->number);

    struct edit text = {0}, why_for = {0}, why_against = {0};
    edit_start(&text, r->text);
    edit_start(&why_for, r->why_for);
    edit_start(&why_against, r->why_against);
    for (int i = 0; i < r->n_evidence; i++) edit_mark(&text, r->evidence[i]);
    int n_evidence = text.n_spans;
    swap_apply(&plan, &text);
    json_t *place = place_make(&plan, r);
    place_mark(&text, place);
    swap_apply(&plan, &why_for);
    swap_apply(&plan, &why_against);
    bool minutes = rng_chance(&rng, f->options.minutes);
    struct rng minutes_rng;
    rng_init_stream(&minutes_rng, rng_u64(&rng), 0);
    if (minutes) wording_minutes(&text, &why_for, &why_against, &minutes_rng);
    // What is safe so far is kept aside: noise that eats all the evidence is undone.
    struct edit noisy = {0};
    edit_reset(&noisy, edit_text(&text), edit_bytes(&text));
    noisy.n_spans = text.n_spans;
    memcpy(noisy.spans, text.spans, sizeof noisy.spans);
    noise_apply(&noisy, &f->options, r, &rng);

    json_t *json = json_copy(r->json), *evidence = json_array();
    bool ok = json != NULL && evidence != NULL && edit_ok(&text) && edit_ok(&noisy) &&
              edit_ok(&why_for) && edit_ok(&why_against);
    if (ok) {
        const struct edit *final = &noisy;
        int n = evidence_take(evidence, &noisy, n_evidence);
        if ((n == 0 && r->n_evidence > 0) || blank(&noisy)) {
            json_array_clear(evidence);
            evidence_take(evidence, &text, n_evidence);
            final = &text;
        }
        set_id(json, "id", r->id, variant);
        if (r->twin != NULL) set_id(json, "twin", r->twin, variant);
        ok = json_object_set_new(json, "text", json_stringn(edit_text(final), edit_bytes(final))) ==
             0;
        json_object_set(json, "place", place);
        json_object_set(json, "evidence", evidence);
        if (r->why_for != NULL) json_object_set_new(json, "for", json_string(edit_text(&why_for)));
        if (r->why_against != NULL)
            json_object_set_new(json, "against", json_string(edit_text(&why_against)));
    }
    if (!ok) {
        json_decref(json);
        json = NULL;
        error_set(err, ERR_NOMEM, "forge %s: out of memory or a text that is not UTF-8", r->id);
    }
    json_decref(evidence);
    json_decref(place);
    edit_release(&text);
    edit_release(&noisy);
    edit_release(&why_for);
    edit_release(&why_against);
    *out = json;
    return ok;
}
