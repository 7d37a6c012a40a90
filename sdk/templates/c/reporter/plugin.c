// A reporter that tells a chat when a builder breaks, and when it works again.

#include <capstan.h>
#include <string.h>

void reporter_deliver(const cap_json *params, const cap_json *report, const char *text) {
    (void)text;
    const char *outcome = cap_text(report, "outcome", NULL);
    if (!outcome || strcmp(outcome, cap_text(report, "previous_outcome", "")) == 0) return;
    const char *number = cap_decimal((int64_t)cap_number(report, "number", 0));
    const char *words = cap_join(cap_text(report, "builder", ""), " #", number, ": ", outcome, NULL);
    const char *token = cap_text(params, "token", NULL);
    const cap_header secret[] = {{token ? "Authorization" : NULL, token}, {NULL, NULL}};
    cap_response response;
    cap_request request = {
        .method = "POST",
        .url = cap_text(params, "url", ""),
        .secret_headers = secret,
        .body = cap_join("{\"text\":", cap_quote(words), "}", NULL),
    };
    if (cap_fetch(&request, &response)) cap_accepted(&response);
}
