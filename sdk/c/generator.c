// Generators: builders out of parameters, when a configuration is loaded.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

// JSON values with commas between.
typedef struct {
    char *text;
    size_t length, room;
} list;

// One call, one instance: this is the answer of the call.
static list builders, schedulers, remarks;

static void put(list *into, const char *text, size_t length) {
    if (into->length + length >= into->room) {
        into->room = (into->room + length) * 2 + 1024;
        char *more = realloc(into->text, into->room);
        if (!more) cap_panic("out of memory");
        into->text = more;
    }
    memcpy(into->text + into->length, text, length);
    into->length += length;
    into->text[into->length] = 0;
}

static void add(list *to, const char *json) {
    if (to->length) put(to, ",", 1);
    put(to, json, strlen(json));
}

void cap_add_builder(const cap_json *builder) { add(&builders, cap_write(builder)); }

void cap_add_scheduler(const cap_json *scheduler) { add(&schedulers, cap_write(scheduler)); }

void cap_remark(const char *text) { add(&remarks, cap_quote(text)); }

const cap_json *cap_use(const char *plugin, const cap_json *parameters) {
    const cap_json *use = cap_with(NULL, "use", cap_quote(plugin));
    return cap_with(use, "parameters", parameters ? cap_write(parameters) : "{}");
}

const char *cap_secret(const char *name) { return cap_join("{\"$secret\":", cap_quote(name), "}", NULL); }

const char *cap_prop(const char *name, const char *fallback) {
    const char *more = fallback ? cap_join(",\"default\":", fallback, NULL) : "";
    return cap_join("{\"$prop\":", cap_quote(name), more, "}", NULL);
}

const char *cap_interpolate(const char *template) {
    return cap_join("{\"$interpolate\":", cap_quote(template), "}", NULL);
}

const char *cap_lock(const char *name, uint32_t amount) {
    const char *units = amount ? cap_join(",\"amount\":", cap_decimal(amount), NULL) : ",\"exclusive\":true";
    return cap_join("{\"$lock\":", cap_quote(name), amount == 1 ? "" : units, "}", NULL);
}

static const char *text_of(const list *all) { return all->text ? all->text : ""; }

bool exports_capstan_plugin_generator_generate(
    wit_string_t *parameters, wit_string_t *answer, capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(parameters, error);
    if (!params) return false;
    plugin_check(params);
    if (!cap_failed()) generator_generate(params);
    if (cap_failure(error)) return false;
    if (cap_failed()) cap_panic("expected cap_permanent or cap_transient, found cap_end, which is for steps");
    const char *made = cap_join(
        "{\"builders\":[", text_of(&builders), "],\"schedulers\":[", text_of(&schedulers), "],\"remarks\":[",
        text_of(&remarks), "]}", NULL
    );
    wit_string_dup(answer, made);
    return true;
}
