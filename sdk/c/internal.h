// What the SDK's own files share. Not for plugins.
#ifndef CAPSTAN_INTERNAL_H
#define CAPSTAN_INTERNAL_H

#include "capstan.h"
#include "wit.h"

// Memory, or the end of the plugin.
void *cap_allocate(size_t size);
// A text that the master sent, with a zero byte at its end.
char *cap_take(const uint8_t *bytes, size_t length);
// A text for the master, which only reads it.
wit_string_t cap_give(const char *text);
// An object of these members, whose values are JSON; one that `cap_parse` does not read is null.
const cap_json *cap_members(const char *const *names, const char *const *values, size_t count);
// The parameters, or a call; NULL and the error if it cannot be read.
const cap_json *cap_params(const wit_string_t *config, capstan_plugin_types_plugin_error_t *error);
// The failure that was kept, as the master hears it. False if there is none.
bool cap_failure(capstan_plugin_types_plugin_error_t *error);
// The function `check` of every kind.
bool cap_check(const wit_string_t *config, capstan_plugin_types_plugin_error_t *error);
// The end that a step was given by `cap_end`; CAP_STOP if none was.
cap_outcome cap_ended(const char **summary);

#endif
