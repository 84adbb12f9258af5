// control/door.c - pseudonyms and masking at the door.
#include "control/door.h"

#include "core/file.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static_assert(DOOR_KEY_BYTES == crypto_auth_hmacsha256_KEYBYTES, "key size of HMAC-SHA256");

static bool key_create(struct door *door, const char *path, struct error *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) return error_set(err, ERR_IO, "%s: %s", path, strerror(errno));
    randombytes_buf(door->key, sizeof door->key);
    bool ok = write(fd, door->key, sizeof door->key) == (ssize_t)sizeof door->key && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    if (ok) return true;
    error_set(err, ERR_IO, "%s: cannot write the key: %s", path, strerror(errno));
    unlink(path);
    return false;
}

bool door_init(struct door *door, const char *folder, struct error *err) {
    char path[4096];
    if (sodium_init() < 0) return error_set(err, ERR_STATE, "libsodium does not start");
    if (!file_join(path, sizeof path, folder, "author.key", err)) return false;
    if (!file_exists(path)) return key_create(door, path, err);
    char *bytes;
    size_t n_bytes;
    if (!file_read(&bytes, &n_bytes, path, 4096, err)) return false;
    bool ok = n_bytes == sizeof door->key;
    if (ok) memcpy(door->key, bytes, sizeof door->key);
    sodium_memzero(bytes, n_bytes);
    free(bytes);
    return ok ||
           error_set(err, ERR_INPUT, "%s: %zu bytes, a key has %d", path, n_bytes, DOOR_KEY_BYTES);
}

void door_pseudonym(const struct door *door, const char *author, char out[DOOR_PSEUDONYM_BYTES]) {
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256(mac, (const uint8_t *)author, strlen(author), door->key);
    sodium_bin2hex(out, DOOR_PSEUDONYM_BYTES, mac, (DOOR_PSEUDONYM_BYTES - 1) / 2);
}

// --- masking: three small recognisers, tried at each position that begins a word ---

static bool is_word(char c) { // letters beyond ASCII count: é is two bytes of a word
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80 || c == '_';
}
static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}
static bool is_local(char c) { // local part of an address, RFC 5322 atoms that people use
    return is_word(c) || c == '.' || c == '-' || c == '+' || c == '%';
}

// Bytes of the e-mail address at s, or 0. At most 64 bytes before the @ and 255 after it (RFC
// 5321), which also bounds the work on hostile text.
static size_t email_length(const char *s, size_t n) {
    size_t at = 0;
    while (at < n && at <= 64 && is_local(s[at])) at++;
    if (at == 0 || at >= n || s[at] != '@') return 0;
    size_t end = at + 1;
    while (end < n && end - at <= 255 &&
           (isalnum((unsigned char)s[end]) || s[end] == '-' || s[end] == '.'))
        end++;
    while (end > at + 1 && (s[end - 1] == '.' || s[end - 1] == '-'))
        end--;        // the sentence's, not the domain's
    size_t top = end; // where the top-level domain begins
    while (top > at + 1 && s[top - 1] != '.') top--;
    return top > at + 2 && end - top >= 2 ? end : 0;
}

static bool handle_is_public(const char *s, size_t n) {
    static const char *const inside[] = {"ratp", "sncf", "transilien", "idfm", "iledefrance"};
    static const char *const first[] = {"ligne", "rer_", "metro_", "tram_"};
    char lower[64];
    if (n >= sizeof lower) return false;
    for (size_t i = 0; i < n; i++) lower[i] = (char)tolower((unsigned char)s[i]);
    lower[n] = '\0';
    for (int i = 0; i < COUNT_OF(inside); i++)
        if (strstr(lower, inside[i]) != NULL) return true;
    for (int i = 0; i < COUNT_OF(first); i++)
        if (strncmp(lower, first[i], strlen(first[i])) == 0) return true;
    return false;
}

// Bytes of the @handle at s, or 0.
static size_t handle_length(const char *s, size_t n) {
    size_t end = 1;
    if (s[0] != '@') return 0;
    while (end < n && is_word(s[end])) end++;
    return end > 2 && !handle_is_public(s + 1, end - 1) ? end : 0;
}

// Bytes of the telephone number at s, or 0: 0X XX XX XX XX, or + and 8 to 15 digits (ITU-T E.164);
// at most one separator between two digits, "(0)" allowed after a country code.
static size_t phone_length(const char *s, size_t n) {
    bool international = s[0] == '+' || (n > 2 && s[0] == '0' && s[1] == '0');
    size_t i = s[0] == '+', end = 0;
    int n_digits = 0;
    if (!international && (s[0] != '0' || n < 2 || s[1] == '0')) return 0;
    while (i < n) {
        if (is_digit(s[i])) {
            n_digits++;
            end = ++i;
        } else if (n_digits > 0 && i + 1 < n && strchr(" .-/", s[i]) != NULL &&
                   is_digit(s[i + 1])) {
            i++;
        } else if (international && n_digits > 0 && i + 3 <= n && memcmp(s + i, "(0)", 3) == 0) {
            i += 3;
        } else if (international && n_digits > 0 && i + 4 <= n && memcmp(s + i, " (0)", 4) == 0) {
            i += 4;
        } else {
            break;
        }
        if (!international && n_digits == 10) break;
        if (n_digits > 15) return 0;
    }
    if (end < n && is_word(s[end])) return 0; // part of a longer number or word
    return (international ? n_digits >= 8 : n_digits == 10) ? end : 0;
}

static void mask(char *s, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (is_digit(s[i])) s[i] = '0';
        else if (isalpha((unsigned char)s[i]) || (unsigned char)s[i] >= 0x80) s[i] = 'x';
    }
}

void door_mask(char *text, size_t n_bytes) {
    for (size_t i = 0; i < n_bytes;) {
        const char *s = text + i;
        size_t left = n_bytes - i, found = 0;
        if (*s == '@') found = handle_length(s, left);
        else if (is_digit(*s) || *s == '+') found = phone_length(s, left);
        if (found == 0 && is_local(*s)) found = email_length(s, left);
        if (found > 0) {
            mask(text + i, found);
            i += found;
        } else if (is_local(*s)) { // the rest of this run begins nothing, but for a number after a
                                   // '+' or '.'
            do i++;
            while (i < n_bytes && is_local(text[i]) && text[i] != '+' &&
                   !(is_digit(text[i]) && !is_word(text[i - 1])));
        } else {
            i++;
        }
    }
}
