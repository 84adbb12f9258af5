// engine/chat.h - the subset of Jinja that chat templates of Llama, Qwen, SmolLM and Pleias folders
// use: text,
// {{ expressions }}, {% for %} with loop.first/last/index0, {% if/elif/else %}, {% set %}, string
// and list operators and filters, raise_exception. Anything else is an error that names the
// construct.
#ifndef ENGINE_CHAT_H
#define ENGINE_CHAT_H

#include "core/buf.h"
#include "core/error.h"

#include <jansson.h>

struct chat_template; // opaque

// Reads chat_template.jinja, or "chat_template" of tokenizer_config.json, in `folder`. A folder
// without one gets ChatML (<|im_start|>role\ntext<|im_end|>\n).
// FOLDER may also be a GGUF file, which holds its template in its metadata.
NODISCARD bool chat_template_open(struct chat_template **out, const char *folder,
                                  struct error *err);
// The template's text as it is stored, appended to `out` (nothing when there is none), and
// *variables: an object the caller owns of bos_token and the like (may be NULL).
NODISCARD bool chat_template_read(struct buf *out, json_t **variables, const char *folder,
                                  struct error *err);
NODISCARD bool chat_template_parse(struct chat_template **out, const char *source, size_t n_bytes,
                                   struct error *err);
void chat_template_close(struct chat_template *tpl); // NULL is fine
// messages: JSON array of {"role", "content", ...}. variables: JSON object of further names
// (bos_token, ...), may be NULL. Appends the prompt to `out`. Bounded: at most 1e6 steps and 16
// MiB.
NODISCARD bool chat_template_render(const struct chat_template *tpl, struct buf *out,
                                    const json_t *messages, bool add_generation_prompt,
                                    const json_t *variables, struct error *err);

#endif
