// control/routes.c - every path of the API, in one table (docs/api.md).
#include "control/control_internal.h"

const struct route control_routes[] = {
    {"POST", "/v1/messages", api_messages_post, api_messages_resume},
    {"GET", "/v1/messages/", api_message, NULL},
    {"GET", "/v1/verdicts", api_verdicts, NULL},
    {"GET", "/v1/stream", api_stream, NULL},
    {"GET", "/v1/stats", api_stats, NULL},
    {"GET", "/healthz", api_health, NULL},
    {"GET", "/metrics", api_metrics, NULL},
    {"GET", "/v1/models", api_models, NULL},
    {"POST", "/v1/chat/completions", api_chat, api_chat_resume},
};
const int64_t control_n_routes = COUNT_OF(control_routes);
