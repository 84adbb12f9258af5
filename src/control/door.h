// control/door.h - what happens to a message before anything of it is kept: the author becomes a
// pseudonym, contact details in the text are masked. Thread: read-only once open.
#ifndef CONTROL_DOOR_H
#define CONTROL_DOOR_H

#include "core/error.h"

enum { DOOR_KEY_BYTES = 32, DOOR_PSEUDONYM_BYTES = 33 };

struct door {
    uint8_t key[DOOR_KEY_BYTES];
};
// Reads FOLDER/author.key, or makes it (random, mode 0600). A key file of another size is an error,
// never replaced: a new key would silently cut an author in two.
NODISCARD bool door_init(struct door *door, const char *folder, struct error *err);
// HMAC-SHA256 (RFC 2104) of `author` under the key, cut to 128 bits, lower-case hex.
void door_pseudonym(const struct door *door, const char *author, char out[DOOR_PSEUDONYM_BYTES]);
// Masks e-mail addresses, telephone numbers and @handles in place: each letter becomes x and each
// digit 0, so that the length and every byte offset stay. Handles of networks and operators are
// kept: they name a line.
void door_mask(char *text, size_t n_bytes);

#endif
