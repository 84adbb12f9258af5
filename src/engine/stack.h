// engine/stack.h - several decoders of one family, depth and tokenizer as one decoder: their widths side by side, every
// matrix block-diagonal, so that one pass gives the mean of their logits. An ensemble any Hugging Face reader opens.
// Exact but for RMSNorm, whose mean runs over all members' channels: a member is scaled by its share of the common
// norm. Norms of q and k heads are shared by all heads of a layer, so they must be the same in all members (freeze_qk_norm in their
// recipes).
#ifndef ENGINE_STACK_H
#define ENGINE_STACK_H

#include "core/error.h"

// Writes a model folder OUT from n folders (tokenizer and its configuration from the first).
NODISCARD bool model_stack(const char *out, const char *const *folders, int n, struct error *err);

#endif
