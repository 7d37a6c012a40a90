// How a plugin fails, its parameters, and the host's log.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

enum { MAX_PROBLEMS = 100 };

// One call, one instance: this is the state of the call.
static enum { NOTHING, PROBLEMS, TRANSIENT, PERMANENT, ENDED } failed;
static const char *reason;
static cap_outcome outcome;
static capstan_plugin_types_problem_t problems[MAX_PROBLEMS];
static size_t problem_count;

// The bindings ask for it; `capstan plugin build` adds the world's types, which it would bring.
extern void __component_type_object_force_link_wit(void);
void __component_type_object_force_link_wit(void) {}

__attribute__((weak)) void plugin_check(const cap_json *params) { (void)params; }

void cap_problem(const char *path, const char *message) {
    if (problem_count < MAX_PROBLEMS) {
        wit_string_dup(&problems[problem_count].path, path);
        wit_string_dup(&problems[problem_count++].message, message);
    }
    if (failed == NOTHING) failed = PROBLEMS;
}

// The first reason is the one that matters.
static cap_outcome fail(int how, const char *message) {
    if (failed == NOTHING) {
        failed = how;
        reason = cap_join(message, NULL);
    }
    return CAP_STOP;
}

cap_outcome cap_transient(const char *message) { return fail(TRANSIENT, message); }

cap_outcome cap_permanent(const char *message) { return fail(PERMANENT, message); }

cap_outcome cap_end(cap_outcome with, const char *summary) {
    if (failed == NOTHING) outcome = with;
    return fail(ENDED, summary);
}

const char *cap_outcome_name(cap_outcome named) {
    static const char *const names[] = {"success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"};
    return (size_t)named < sizeof names / sizeof *names ? names[named] : "";
}

bool cap_failed(void) { return failed != NOTHING; }

cap_outcome cap_ended(const char **summary) {
    *summary = reason;
    return failed == ENDED ? outcome : CAP_STOP;
}

bool cap_failure(capstan_plugin_types_plugin_error_t *error) {
    switch (failed) {
    case PROBLEMS:
        error->tag = CAPSTAN_PLUGIN_TYPES_PLUGIN_ERROR_INVALID_CONFIG;
        // The bindings free what they are given.
        error->val.invalid_config.ptr = malloc(problem_count * sizeof *problems);
        if (!error->val.invalid_config.ptr) cap_panic("out of memory");
        memcpy(error->val.invalid_config.ptr, problems, problem_count * sizeof *problems);
        error->val.invalid_config.len = problem_count;
        return true;
    case TRANSIENT:
        error->tag = CAPSTAN_PLUGIN_TYPES_PLUGIN_ERROR_TRANSIENT;
        wit_string_dup(&error->val.transient, reason);
        return true;
    case PERMANENT:
        error->tag = CAPSTAN_PLUGIN_TYPES_PLUGIN_ERROR_PERMANENT;
        wit_string_dup(&error->val.permanent, reason);
        return true;
    default:
        return false;
    }
}

const cap_json *cap_params(const wit_string_t *config, capstan_plugin_types_plugin_error_t *error) {
    const cap_json *params = cap_parse(cap_take(config->ptr, config->len));
    if (!params) {
        cap_problem("", "expected JSON without zeros in texts, nested at most 64 deep");
        cap_failure(error);
    }
    return params;
}

bool cap_check(const wit_string_t *config, capstan_plugin_types_plugin_error_t *error) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    plugin_check(params);
    return !cap_failure(error);
}

static void write_log(uint8_t level, const char *message) {
    wit_string_t text = cap_give(message);
    capstan_plugin_log_write(level, &text);
}

void cap_debug(const char *message) { write_log(CAPSTAN_PLUGIN_LOG_LEVEL_DEBUG, message); }

void cap_info(const char *message) { write_log(CAPSTAN_PLUGIN_LOG_LEVEL_INFO, message); }

void cap_warn(const char *message) { write_log(CAPSTAN_PLUGIN_LOG_LEVEL_WARN, message); }

void cap_error(const char *message) { write_log(CAPSTAN_PLUGIN_LOG_LEVEL_ERROR, message); }

void cap_panic(const char *message) {
    cap_error(message);
    __builtin_trap();
}
