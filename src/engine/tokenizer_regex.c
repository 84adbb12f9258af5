// engine/tokenizer_regex.c - pre-tokenizer patterns. Hugging Face runs them with Oniguruma in its
// Ruby syntax; here they are rewritten for PCRE2, and what cannot be rewritten to the same meaning
// is refused:
//   \s \S \w \W \b \h \v   mean other sets in PCRE2 (U+180E, marks, vertical space): spelled out
//   ^ $                    match at every line, always
//   X{1,3}+                repeats the interval, it is not possessive
//   \p{Han}                is the script, where PCRE2 10.40+ takes the script extensions
//   [a[b]], [a&&b]         class operators: refused
#define PCRE2_CODE_UNIT_WIDTH 8
#include "core/utf8.h"
#include "engine/tokenizer_internal.h"

#include <ctype.h>
#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

const char tokenizer_gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const char tokenizer_qwen_pattern[] =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}"
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

// Members of a class, without the brackets.
#define SPACE                                                                                      \
    "\\x09-\\x0d\\x20\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"        \
    "\\x{205f}\\x{3000}"
#define NOT_SPACE                                                                                  \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}"       \
    "\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"                 \
    "\\x{3001}-\\x{d7ff}\\x{e000}-\\x{10ffff}"
#define WORD                                                                                       \
    "\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}"                    \
    "\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}\\xb2\\xb3\\xb9\\xbc-\\xbe" // the last as Oniguruma
#define HEX "0-9a-fA-F"

struct regex {
    pcre2_code *code;
};

struct regex_scratch {
    pcre2_match_data *match; // one pair: the whole match
    pcre2_match_context *context;
    pcre2_jit_stack *stack; // made when first needed
};

struct translation {
    struct buf *out;
    const char *p;
    size_t n, i;
    struct error *err;
};

static bool refuse(struct translation *t, size_t at, size_t n, const char *why) {
    if (n > t->n - at) n = t->n - at;
    return error_set(t->err, ERR_INPUT, "pattern: \"%.*s\" at byte %zu: %s", (int)n, t->p + at, at,
                     why);
}

// \p{Name} or \P{Name}, t->i on the p.
static bool translate_property(struct translation *t) {
    static const char *const long_names[][2] = {{"Letter", "L"},
                                                {"Mark", "M"},
                                                {"Number", "N"},
                                                {"Punctuation", "P"},
                                                {"Symbol", "S"},
                                                {"Separator", "Z"},
                                                {"Other", "C"},
                                                {"Uppercase_Letter", "Lu"},
                                                {"Lowercase_Letter", "Ll"},
                                                {"Titlecase_Letter", "Lt"},
                                                {"Modifier_Letter", "Lm"},
                                                {"Other_Letter", "Lo"},
                                                {"Decimal_Number", "Nd"},
                                                {"Alphabetic", "Alphabetic"},
                                                {"Alpha", "Alphabetic"},
                                                {"Uppercase", "Uppercase"},
                                                {"Lowercase", "Lowercase"},
                                                {"Upper", "Uppercase"},
                                                {"Lower", "Lowercase"},
                                                {"Emoji", "Emoji"},
                                                {"White_Space", "White_Space"}};
    size_t at = t->i - 1;
    char p = t->p[t->i++];
    if (t->i >= t->n || t->p[t->i] != '{') return refuse(t, at, 3, "expected \\p{Name}");
    const char *name = t->p + t->i + 1;
    const char *close = memchr(name, '}', t->n - t->i - 1);
    if (close == NULL || close - name > 40) return refuse(t, at, 12, "unclosed \\p{");
    t->i = (size_t)(close - t->p) + 1;
    const char *negate = "";
    if (name < close && *name == '^') {
        negate = "^";
        name++;
    }
    int n = (int)(close - name);
    for (int i = 0; i < n; i++) {
        if (!isalnum((unsigned char)name[i]) && name[i] != '_')
            return refuse(t, at, (size_t)(close - t->p) + 1 - at, "not a property name");
    }
    const char *known = NULL;
    for (int64_t i = 0; i < COUNT_OF(long_names); i++) {
        if (strlen(long_names[i][0]) == (size_t)n &&
            strncmp(long_names[i][0], name, (size_t)n) == 0)
            known = long_names[i][1];
    }
    if (known != NULL) {
        buf_printf(t->out, "\\%c{%s%s}", p, negate, known);
    } else if (n <= 2) { // a general category
        buf_printf(t->out, "\\%c{%s%.*s}", p, negate, n, name);
    } else { // a script; anything else is refused by PCRE2, which names the place
        buf_printf(t->out, "\\%c{%ssc:%.*s}", p, negate, n, name);
    }
    return true;
}

// An escape, t->i after the backslash.
static bool translate_escape(struct translation *t, bool in_class) {
    if (t->i >= t->n) return refuse(t, t->i - 1, 1, "ends with a backslash");
    size_t at = t->i - 1;
    char c = t->p[t->i];
    const char *set = NULL;
    switch (c) {
    case 's':
        set = in_class ? SPACE : "[" SPACE "]";
        break;
    case 'S':
        set = in_class ? NOT_SPACE : "[^" SPACE "]";
        break;
    case 'w':
        set = in_class ? WORD : "[" WORD "]";
        break;
    case 'W':
        set = in_class ? NULL : "[^" WORD "]";
        break;
    case 'h':
        set = in_class ? HEX : "[" HEX "]";
        break;
    case 'H':
        set = in_class ? NULL : "[^" HEX "]";
        break;
    case 'v':
        set = "\\x0b";
        break;
    case 'b':
        set =
            in_class ? "\\x08" : "(?:(?<=[" WORD "])(?![" WORD "])|(?<![" WORD "])(?=[" WORD "]))";
        break;
    case 'B':
        set = in_class ? NULL : "(?:(?<=[" WORD "])(?=[" WORD "])|(?<![" WORD "])(?![" WORD "]))";
        break;
    case 'p':
    case 'P':
        return translate_property(t);
    case 'u':
        if (t->n - t->i < 5) return refuse(t, at, 6, "expected four hexadecimal digits");
        for (size_t i = 1; i <= 4; i++) {
            if (!isxdigit((unsigned char)t->p[t->i + i]))
                return refuse(t, at, 6, "expected four hexadecimal digits");
        }
        buf_printf(t->out, "\\x{%.4s}", t->p + t->i + 1);
        t->i += 5;
        return true;
    default:
        if (isalpha((unsigned char)c) && strchr(in_class ? "nrtfaedDx" : "nrtfaedDxAzZ", c) == NULL)
            return refuse(t, at, 2, "this escape is not supported");
        buf_append(t->out, t->p + at, 2); // the rest of a \x{...} is copied as it comes
        t->i++;
        if (c == 'x' && t->i < t->n && t->p[t->i] == '{') {
            const char *close = memchr(t->p + t->i, '}', t->n - t->i);
            if (close == NULL) return refuse(t, at, 8, "unclosed \\x{");
            size_t n = (size_t)(close - t->p) + 1 - t->i;
            buf_append(t->out, t->p + t->i, n);
            t->i += n;
        }
        return true;
    }
    if (set == NULL) return refuse(t, at, 2, "not supported inside [ ]");
    buf_append_str(t->out, set);
    t->i++;
    return true;
}

// A character class, t->i after the '['.
static bool translate_class(struct translation *t) {
    size_t at = t->i - 1;
    buf_append_char(t->out, '[');
    if (t->i < t->n && t->p[t->i] == '^') {
        buf_append_char(t->out, '^');
        t->i++;
    }
    if (t->i < t->n && t->p[t->i] == ']') {
        buf_append_str(t->out, "\\]");
        t->i++;
    }
    while (t->i < t->n) {
        char c = t->p[t->i++];
        if (c == ']') {
            buf_append_char(t->out, ']');
            return true;
        }
        if (c == '\\') {
            if (!translate_escape(t, true)) return false;
        } else if (c == '[') {
            return refuse(t, t->i - 1, 8, "classes inside classes are not supported");
        } else if (c == '&' && t->i < t->n && t->p[t->i] == '&') {
            return refuse(t, t->i - 1, 8, "class intersection is not supported");
        } else {
            buf_append_char(t->out, c);
        }
    }
    return refuse(t, at, 8, "unclosed [");
}

// After a '{': an interval, or a literal brace.
static bool translate_brace(struct translation *t) {
    size_t at = t->i - 1, i = t->i;
    long low = 0, high = -1;
    bool has_low = false, has_high = false, comma = false;
    while (i < t->n && isdigit((unsigned char)t->p[i]) && low < 100000) {
        low = low * 10 + (t->p[i++] - '0');
        has_low = true;
    }
    if (i < t->n && t->p[i] == ',') {
        comma = true;
        i++;
        high = 0;
        while (i < t->n && isdigit((unsigned char)t->p[i]) && high < 100000) {
            high = high * 10 + (t->p[i++] - '0');
            has_high = true;
        }
    }
    if (i >= t->n || t->p[i] != '}' || !(has_low || has_high)) {
        buf_append_str(t->out, "\\{");
        return true;
    }
    t->i = i + 1;
    char next = t->i < t->n ? t->p[t->i] : '\0';
    if (next == '?' && !comma) return refuse(t, at, t->i + 1 - at, "{n}? is not supported");
    if (next == '+') { // greedy repetition of the interval
        if (low > 1 || (has_high && high < 1))
            return refuse(t, at, t->i + 1 - at, "this repeated interval is not supported");
        buf_append_char(t->out, low == 0 ? '*' : '+');
        t->i++;
        return true;
    }
    if (!comma) {
        buf_printf(t->out, "{%ld}", low);
    } else if (has_high) {
        buf_printf(t->out, "{%ld,%ld}", low, high);
    } else {
        buf_printf(t->out, "{%ld,}", low);
    }
    return true;
}

static bool translate_group(struct translation *t) {
    size_t at = t->i - 1;
    buf_append_char(t->out, '(');
    if (t->i < t->n && t->p[t->i] == '*') return refuse(t, at, 8, "(* is not supported");
    if (t->i >= t->n || t->p[t->i] != '?') return true;
    buf_append_char(t->out, '?');
    t->i++;
    char c = t->i < t->n ? t->p[t->i] : '\0';
    if (c == ':' || c == '=' || c == '!' || c == '>' || c == '<') return true;
    size_t i = t->i;
    while (i < t->n && (t->p[i] == 'i' || t->p[i] == '-')) i++;
    if (i > t->i && i < t->n && (t->p[i] == ':' || t->p[i] == ')')) {
        buf_append(t->out, t->p + t->i, i - t->i);
        t->i = i;
        return true;
    }
    return refuse(t, at, 8, "this group is not supported");
}

static bool regex_translate(struct buf *out, const char *pattern, size_t n, struct error *err) {
    struct translation t = {.out = out, .p = pattern, .n = n, .err = err};
    while (t.i < n) {
        char c = pattern[t.i++];
        bool ok = true;
        if (c == '\\') {
            ok = translate_escape(&t, false);
        } else if (c == '[') {
            ok = translate_class(&t);
        } else if (c == '(') {
            ok = translate_group(&t);
        } else if (c == '{') {
            ok = translate_brace(&t);
        } else {
            buf_append_char(out, c);
        }
        if (!ok) return false;
    }
    return true;
}

bool regex_open(struct regex **out, const char *pattern, size_t n, bool literal,
                struct error *err) {
    struct buf translated = {.limit_bytes = 1 << 20};
    struct regex *regex = NULL;
    if (!utf8_valid(pattern, n, NULL)) return error_set(err, ERR_INPUT, "pattern: not UTF-8");
    if (literal) {
        for (size_t i = 0; i < n; i++) {
            unsigned char c = (unsigned char)pattern[i];
            if (c < 128 && !isalnum(c)) {
                buf_printf(&translated, "\\x%02x", c);
            } else {
                buf_append_char(&translated, (char)c);
            }
        }
    } else if (!regex_translate(&translated, pattern, n, err)) {
        goto fail;
    }
    if (!buf_ok(&translated)) {
        error_set(err, ERR_LIMIT, "pattern: too long (%zu bytes)", n);
        goto fail;
    }
    regex = calloc(1, sizeof *regex);
    if (regex == NULL) {
        error_set(err, ERR_NOMEM, "pattern: out of memory");
        goto fail;
    }
    int code;
    PCRE2_SIZE at;
    const char *source = translated.data == NULL ? "" : translated.data;
    regex->code = pcre2_compile((PCRE2_SPTR)source, translated.n_bytes,
                                PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C,
                                &code, &at, NULL);
    if (regex->code == NULL) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(code, why, sizeof why);
        error_set(err, ERR_INPUT, "pattern \"%.80s\": %s", pattern, (const char *)why);
        goto fail;
    }
    pcre2_jit_compile(regex->code, PCRE2_JIT_COMPLETE); // without JIT it is slower, not different
    buf_release(&translated);
    *out = regex;
    return true;
fail:
    buf_release(&translated);
    regex_close(regex);
    return false;
}

void regex_close(struct regex *regex) {
    if (regex == NULL) return;
    pcre2_code_free(regex->code);
    free(regex);
}

bool regex_scratch_open(struct regex_scratch **out, struct error *err) {
    struct regex_scratch *s = calloc(1, sizeof *s);
    if (s == NULL) return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    s->match = pcre2_match_data_create(1, NULL);
    s->context = pcre2_match_context_create(NULL);
    if (s->match == NULL || s->context == NULL) {
        regex_scratch_close(s);
        return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    }
    *out = s;
    return true;
}

void regex_scratch_close(struct regex_scratch *s) {
    if (s == NULL) return;
    pcre2_match_data_free(s->match);
    pcre2_match_context_free(s->context);
    pcre2_jit_stack_free(s->stack);
    free(s);
}

// The first match at or after `from`: 1, none: 0, error: -1.
static int regex_find(const struct regex *regex, struct regex_scratch *scratch, const char *s,
                      size_t n, size_t from, size_t *begin, size_t *end, struct error *err) {
    int rc = pcre2_match(regex->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, scratch->match,
                         scratch->context);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT && scratch->stack == NULL) { // 32 KiB were not enough
        scratch->stack = pcre2_jit_stack_create(32 << 10, 1 << 20, NULL);
        if (scratch->stack != NULL) pcre2_jit_stack_assign(scratch->context, NULL, scratch->stack);
        rc = pcre2_match(regex->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK, scratch->match,
                         scratch->context);
    }
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT)
        rc = pcre2_match(regex->code, (PCRE2_SPTR)s, n, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                         scratch->match, scratch->context);
    if (rc == PCRE2_ERROR_NOMATCH) return 0;
    if (rc < 0) {
        PCRE2_UCHAR why[160];
        pcre2_get_error_message(rc, why, sizeof why);
        error_set(err, ERR_LIMIT, "tokenizer pattern at byte %zu: %s", from, (const char *)why);
        return -1;
    }
    const PCRE2_SIZE *pair = pcre2_get_ovector_pointer(scratch->match);
    *begin = pair[0];
    *end = pair[1];
    if (*begin < from || *end < *begin) { // \K-like constructs; none of them is let through
        error_set(err, ERR_INPUT, "tokenizer pattern: match [%zu, %zu) out of order", *begin, *end);
        return -1;
    }
    return 1;
}

void span_add(struct span_list *list, int64_t begin, int64_t end, bool match) {
    if (list->failed) return;
    if (list->n == list->capacity) {
        int64_t capacity = list->capacity ? list->capacity * 2 : 64;
        struct span *v = realloc(list->v, (size_t)capacity * sizeof *v);
        if (v == NULL) {
            list->failed = true;
            return;
        }
        list->v = v;
        list->capacity = capacity;
    }
    list->v[list->n++] =
        (struct span){.begin = (int32_t)begin, .end = (int32_t)end, .match = match};
}

bool regex_split(const struct regex *regex, struct regex_scratch *scratch, const char *s, int32_t n,
                 struct span_list *out, struct error *err) {
    size_t from = 0, previous = 0, last_match = SIZE_MAX, total = (size_t)n;
    out->n = 0;
    while (from <= total) {
        size_t begin, end;
        int found = regex_find(regex, scratch, s, total, from, &begin, &end, err);
        if (found < 0) return false;
        if (found == 0) break;
        if (begin == end && end == last_match) { // as the onig crate: no empty match after a match
            size_t step = from < total ? utf8_char_bytes(s + from, total - from) : 1;
            from += step > 0 ? step : 1;
            continue;
        }
        if (previous != begin) span_add(out, (int64_t)previous, (int64_t)begin, false);
        span_add(out, (int64_t)begin, (int64_t)end, true);
        from = previous = last_match = end;
    }
    if (previous != total) span_add(out, (int64_t)previous, n, false);
    if (out->failed) return error_set(err, ERR_NOMEM, "tokenizer: out of memory");
    return true;
}
