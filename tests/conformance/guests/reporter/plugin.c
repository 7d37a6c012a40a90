// Delivers a report to where its parameters say.

#include <capstan.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RECIPIENTS = 8 };

void plugin_check(const cap_json *params) {
    const cap_json *url = cap_get(params, "url");
    if (cap_kind_of(url) != CAP_TEXT) cap_problem("url", "expected a text");
    else if (strncmp(cap_as_text(url, ""), "https://", 8) != 0) cap_problem("url", "expected https://");
}

static const char *json(const cap_json *value) {
    if (cap_kind_of(value) == CAP_TEXT) return cap_quote(cap_as_text(value, ""));
    if (cap_kind_of(value) == CAP_NUMBER) return cap_decimal((int64_t)cap_as_number(value, 0));
    return "null";
}

static const char *sources(const cap_json *report) {
    const cap_json *all = cap_get(report, "sources");
    const char *list = "[";
    for (size_t place = 0; place < cap_count(all); place++) {
        list = cap_join(list, place ? "," : "", json(cap_get(cap_at(all, place), "revision")), NULL);
    }
    return cap_join(list, "]", NULL);
}

static const char *steps(const cap_json *report) {
    const cap_json *all = cap_get(report, "steps");
    const char *list = "[";
    for (size_t place = 0; place < cap_count(all); place++) {
        const cap_json *step = cap_at(all, place);
        const char *outcome = cap_text(step, "outcome", "-");
        const char *line = cap_join(cap_text(step, "name", ""), " ", outcome, " ", cap_text(step, "summary", ""), NULL);
        list = cap_join(list, place ? "," : "", cap_quote(line), NULL);
    }
    return cap_join(list, "]", NULL);
}

static const char *branch(const cap_json *report) {
    const cap_json *all = cap_get(report, "properties");
    for (size_t place = 0; place < cap_count(all); place++) {
        const cap_json *property = cap_at(all, place);
        if (strcmp(cap_text(property, "name", ""), "branch") == 0) return json(cap_get(property, "value"));
    }
    return "null";
}

static const char *facts(const cap_json *report) {
    static const char *const names[] = {
        "delivery_id", "phase", "builder", "number", "url", "worker", "reason", "outcome", "previous_outcome", "summary",
    };
    const char *line = "[";
    for (size_t place = 0; place < sizeof names / sizeof *names; place++) {
        line = cap_join(line, json(cap_get(report, names[place])), ",", NULL);
    }
    line = cap_join(line, sources(report), ",", branch(report), ",", steps(report), NULL);
    const char *began = json(cap_get(report, "started")), *ended = json(cap_get(report, "finished"));
    return cap_join(line, ",", began, ",", ended, "]", NULL);
}

static bool count_up(const char *key) {
    const char *before;
    if (!cap_recall(key, &before)) return false;
    long times = before ? strtol(before, NULL, 10) + 1 : 1;
    if (!cap_remember(key, cap_decimal(times))) return false;
    return times != 3 || cap_forget(key);
}

static bool post(const cap_json *recipients, const cap_json *report) {
    const char *to[MAX_RECIPIENTS + 1] = {NULL};
    for (size_t place = 0; place < cap_count(recipients) && place < MAX_RECIPIENTS; place++) {
        to[place] = cap_as_text(cap_at(recipients, place), "");
    }
    const char *number = cap_decimal((int64_t)cap_number(report, "number", 0));
    const cap_header headers[] = {{"X-Number", number}, {NULL, NULL}};
    const char *subject = cap_join(cap_text(report, "builder", ""), " ü", NULL);
    return cap_send(&(cap_mail){.to = to, .subject = subject, .text = "plain", .headers = headers});
}

void reporter_deliver(const cap_json *params, const cap_json *report, const char *text) {
    const char *bug = cap_text(params, "bug", NULL), *file = cap_text(params, "file", NULL);
    const char *count = cap_text(params, "count", NULL), *token = cap_text(params, "token", NULL);
    const cap_json *mail = cap_get(params, "mail");
    if (bug) cap_panic(bug);
    if (file && !cap_append_line(file, facts(report))) return;
    if (count && !count_up(count)) return;
    if (mail && !post(mail, report)) return;
    const cap_header headers[] = {{"Content-Type", "application/json"}, {NULL, NULL}};
    const cap_header secrets[] = {{token ? "Authorization" : NULL, token}, {NULL, NULL}};
    cap_response response;
    cap_request request = {
        .method = "POST",
        .url = cap_text(params, "url", ""),
        .headers = headers,
        .secret_headers = secrets,
        .body = text,
        .timeout_ms = 2000,
    };
    if (cap_fetch(&request, &response)) cap_accepted(&response);
}
