// core/log.h - one line, key=value, to stderr. stdout is for results.
// Thread: any. An error is logged once, where it is handled.
#ifndef CORE_LOG_H
#define CORE_LOG_H

#include "core/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

void log_level_set(enum log_level least); // default LOG_INFO; SILLON_LOG=debug|info|warn|error overrides
void log_write(enum log_level level, const char *module, const char *format, ...) PRINTF_LIKE(3, 4);
#define log_debug(module, ...) log_write(LOG_DEBUG, module, __VA_ARGS__)
#define log_info(module, ...) log_write(LOG_INFO, module, __VA_ARGS__)
#define log_warn(module, ...) log_write(LOG_WARN, module, __VA_ARGS__)
#define log_error(module, ...) log_write(LOG_ERROR, module, __VA_ARGS__)

#endif
