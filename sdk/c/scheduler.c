// Schedulers: what they are told, and what they decide.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef exports_capstan_plugin_scheduler_decision_t decision_t;
typedef exports_capstan_plugin_scheduler_buildset_t buildset_t;
typedef exports_capstan_plugin_scheduler_timer_t alarm_t;
typedef capstan_plugin_types_source_stamp_t stamp_t;
typedef capstan_plugin_types_property_t property_t;

// One call, one instance: this is the decision of the call.
static decision_t decision;
static const cap_json *kept;

__attribute__((weak)) const cap_json *scheduler_migrate(
    const cap_json *params, const char *from_version, const cap_json *state
) {
    (void)params, (void)from_version, (void)state;
    return NULL;
}

#ifndef CAP_CALLS
const cap_json *scheduler_describe(const cap_json *params) {
    (void)params;
    cap_permanent("expected exports = [\"calls\"] under [build] in plugin.toml");
    return NULL;
}

void scheduler_call(const cap_json *params, const cap_json *state, int64_t now, const cap_json *call) {
    (void)state, (void)now, (void)call;
    scheduler_describe(params);
}
#endif

#ifndef CAP_COMPLETIONS
void scheduler_completed(const cap_json *params, const cap_json *state, int64_t now, const cap_completed *set) {
    (void)params, (void)state, (void)now, (void)set;
    cap_permanent("expected exports = [\"completions\"] under [build] in plugin.toml");
}
#endif

// The bindings free what they are given: every text is a copy.
static wit_string_t copied(const char *text) {
    wit_string_t copy;
    wit_string_dup(&copy, text ? text : "");
    return copy;
}

static wit_option_string_t perhaps(const char *text) {
    return (wit_option_string_t){.is_some = text != NULL, .val = text ? copied(text) : (wit_string_t){NULL, 0}};
}

static const char *taken(const wit_string_t *text) { return cap_take(text->ptr, text->len); }

static const char *maybe(const wit_option_string_t *text) { return text->is_some ? taken(&text->val) : NULL; }

// One list more room at its end.
static void *longer(void *list, size_t count, size_t size) {
    void *memory = realloc(list, (count + 1) * size);
    if (!memory) cap_panic("out of memory");
    return memory;
}

// ---- events ----

static const cap_source *stamps(const stamp_t *stamps, size_t count) {
    cap_source *sources = cap_allocate(count * sizeof *sources);
    for (size_t place = 0; place < count; place++) {
        const stamp_t *stamp = &stamps[place];
        sources[place] = (cap_source){
            .codebase = taken(&stamp->codebase),
            .repository = taken(&stamp->repository),
            .project = taken(&stamp->project),
            .branch = maybe(&stamp->branch),
            .revision = maybe(&stamp->revision),
        };
    }
    return sources;
}

static const cap_json *by_name(const property_t *properties, size_t count) {
    const char **names = cap_allocate(count * sizeof *names), **values = cap_allocate(count * sizeof *values);
    for (size_t place = 0; place < count; place++) {
        names[place] = taken(&properties[place].name);
        values[place] = taken(&properties[place].value);
    }
    return cap_members(names, values, count);
}

static const cap_change *change_of(const exports_capstan_plugin_scheduler_change_t *given) {
    cap_change *change = cap_allocate(sizeof *change);
    const char **files = cap_allocate((given->files.len + 1) * sizeof *files);
    for (size_t place = 0; place < given->files.len; place++) files[place] = taken(&given->files.ptr[place]);
    *change = (cap_change){
        .id = given->id,
        .source = taken(&given->source),
        .codebase = taken(&given->codebase),
        .repository = taken(&given->repository),
        .project = taken(&given->project),
        .branch = maybe(&given->branch),
        .revision = taken(&given->revision),
        .author = taken(&given->author),
        .comments = taken(&given->comments),
        .files = files,
        .category = maybe(&given->category),
        .when = given->when,
        .properties = by_name(given->properties.ptr, given->properties.len),
    };
    return change;
}

static const cap_build *build_of(const exports_capstan_plugin_scheduler_finished_t *given) {
    cap_build *build = cap_allocate(sizeof *build);
    *build = (cap_build){
        .builder = taken(&given->builder),
        .number = given->number,
        .outcome = (cap_outcome)given->outcome,
        .sources = stamps(given->sources.ptr, given->sources.len),
        .source_count = given->sources.len,
    };
    return build;
}

static cap_event event_of(const exports_capstan_plugin_scheduler_event_t *given) {
    switch (given->tag) {
    case EXPORTS_CAPSTAN_PLUGIN_SCHEDULER_EVENT_CHANGE:
        return (cap_event){.kind = CAP_CHANGE, .change = change_of(&given->val.change)};
    case EXPORTS_CAPSTAN_PLUGIN_SCHEDULER_EVENT_TIMER:
        return (cap_event){.kind = CAP_TIMER, .timer = taken(&given->val.timer)};
    case EXPORTS_CAPSTAN_PLUGIN_SCHEDULER_EVENT_FINISHED:
        return (cap_event){.kind = CAP_FINISHED, .build = build_of(&given->val.finished)};
    default:
        return (cap_event){.kind = CAP_STARTED};
    }
}

// ---- decisions ----

void cap_keep(const cap_json *state) { kept = state; }

static void name_builders(buildset_t *set, const char *const *builders) {
    set->builders.is_some = builders != NULL;
    wit_list_string_t *names = &set->builders.val;
    for (; builders && *builders; builders++) {
        names->ptr = longer(names->ptr, names->len, sizeof *names->ptr);
        names->ptr[names->len++] = copied(*builders);
    }
}

static void name_sources(buildset_t *set, const cap_source *sources, size_t count) {
    set->sources.ptr = cap_allocate(count * sizeof *set->sources.ptr);
    set->sources.len = count;
    for (size_t place = 0; place < count; place++) {
        set->sources.ptr[place] = (stamp_t){
            .codebase = copied(sources[place].codebase),
            .repository = copied(sources[place].repository),
            .project = copied(sources[place].project),
            .branch = perhaps(sources[place].branch),
            .revision = perhaps(sources[place].revision),
        };
    }
}

static void set_properties(buildset_t *set, const cap_json *properties) {
    size_t count = cap_kind_of(properties) == CAP_OBJECT ? cap_count(properties) : 0;
    set->properties.ptr = cap_allocate(count * sizeof *set->properties.ptr);
    set->properties.len = count;
    for (size_t place = 0; place < count; place++) {
        set->properties.ptr[place] = (property_t){
            .name = copied(cap_name_at(properties, place)),
            .value = copied(cap_write(cap_at(properties, place))),
            .source = copied(""),
        };
    }
}

void cap_submit(const cap_buildset *given) {
    buildset_t set = {.priority = given->priority, .reason = copied(given->reason)};
    name_builders(&set, given->builders);
    name_sources(&set, given->sources, given->source_count);
    set_properties(&set, given->properties);
    set.changes.len = given->change_count;
    set.changes.ptr = cap_allocate(given->change_count * sizeof *set.changes.ptr);
    if (given->change_count) memcpy(set.changes.ptr, given->changes, given->change_count * sizeof *set.changes.ptr);
    decision.submit.ptr = longer(decision.submit.ptr, decision.submit.len, sizeof set);
    decision.submit.ptr[decision.submit.len++] = set;
}

void cap_set_timer(const char *name, int64_t at) {
    decision.set_timers.ptr = longer(decision.set_timers.ptr, decision.set_timers.len, sizeof(alarm_t));
    decision.set_timers.ptr[decision.set_timers.len++] = (alarm_t){copied(name), at};
}

void cap_clear_timer(const char *name) {
    decision.clear_timers.ptr = longer(decision.clear_timers.ptr, decision.clear_timers.len, sizeof(wit_string_t));
    decision.clear_timers.ptr[decision.clear_timers.len++] = copied(name);
}

// ---- exports ----

// What was kept; nothing is an empty object.
static const cap_json *remembered(const wit_list_u8_t *bytes) {
    const cap_json *state = cap_parse(bytes->len ? cap_take(bytes->ptr, bytes->len) : "{}");
    if (!state) cap_permanent("expected a state as this version of the plugin writes it: it is no JSON");
    return state;
}

static wit_list_u8_t written(const cap_json *state) {
    wit_string_t text = copied(cap_write(state));
    return (wit_list_u8_t){text.ptr, text.len};
}

bool exports_capstan_plugin_scheduler_check(wit_string_t *config, capstan_plugin_types_plugin_error_t *error) {
    return cap_check(config, error);
}

bool exports_capstan_plugin_scheduler_handle(
    wit_string_t *config, wit_list_u8_t *state, int64_t now, exports_capstan_plugin_scheduler_event_t *given,
    decision_t *answer, capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    kept = remembered(state);
    if (!kept) return !cap_failure(error);
    cap_event event = event_of(given);
    scheduler_handle(params, kept, now, &event);
    if (cap_failure(error)) return false;
    decision.state = written(kept);
    *answer = decision;
    return true;
}

// The functions that came after 0.1.0 share a decision of their own, with the same members.
static capstan_plugin_decisions_decision_t shared(void) {
    size_t count = decision.submit.len, alarms = decision.set_timers.len;
    capstan_plugin_decisions_buildset_t *sets = cap_allocate(count * sizeof *sets);
    capstan_plugin_decisions_timer_t *timers = cap_allocate(alarms * sizeof *timers);
    for (size_t place = 0; place < count; place++) {
        const buildset_t *set = &decision.submit.ptr[place];
        sets[place] = (capstan_plugin_decisions_buildset_t){
            .builders = {set->builders.is_some, set->builders.val},
            .sources = {set->sources.ptr, set->sources.len},
            .priority = set->priority,
            .reason = set->reason,
            .properties = {set->properties.ptr, set->properties.len},
            .changes = set->changes,
        };
    }
    for (size_t place = 0; place < alarms; place++) {
        timers[place] = (capstan_plugin_decisions_timer_t){
            .name = decision.set_timers.ptr[place].name,
            .at = decision.set_timers.ptr[place].at,
        };
    }
    return (capstan_plugin_decisions_decision_t){
        .state = written(kept),
        .submit = {sets, count},
        .set_timers = {timers, alarms},
        .clear_timers = decision.clear_timers,
    };
}

bool exports_capstan_plugin_calls_describe(
    wit_string_t *config, wit_string_t *answer, capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    const cap_json *form = scheduler_describe(params);
    if (cap_failure(error)) return false;
    *answer = copied(cap_write(form));
    return true;
}

bool exports_capstan_plugin_calls_call(
    wit_string_t *config, wit_list_u8_t *state, int64_t now, wit_string_t *given,
    capstan_plugin_decisions_decision_t *answer, capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    const cap_json *call = cap_params(given, error);
    if (!call) return false;
    kept = remembered(state);
    if (!kept) return !cap_failure(error);
    scheduler_call(params, kept, now, call);
    if (cap_failure(error)) return false;
    *answer = shared();
    return true;
}

static const cap_completed *completed_of(const exports_capstan_plugin_completions_completed_buildset_t *given) {
    cap_completed *set = cap_allocate(sizeof *set);
    cap_build *builds = cap_allocate(given->builds.len * sizeof *builds);
    for (size_t place = 0; place < given->builds.len; place++) {
        const exports_capstan_plugin_completions_build_t *build = &given->builds.ptr[place];
        builds[place] = (cap_build){
            .builder = taken(&build->builder),
            .number = build->number,
            .outcome = (cap_outcome)build->outcome,
            .sources = stamps(build->sources.ptr, build->sources.len),
            .source_count = build->sources.len,
        };
    }
    *set = (cap_completed){
        .id = given->id,
        .scheduler = taken(&given->scheduler),
        .outcome = (cap_outcome)given->outcome,
        .reason = taken(&given->reason),
        .sources = stamps(given->sources.ptr, given->sources.len),
        .source_count = given->sources.len,
        .properties = by_name(given->properties.ptr, given->properties.len),
        .changes = given->changes.ptr,
        .change_count = given->changes.len,
        .builds = builds,
        .build_count = given->builds.len,
    };
    return set;
}

bool exports_capstan_plugin_completions_completed(
    wit_string_t *config, wit_list_u8_t *state, int64_t now,
    exports_capstan_plugin_completions_completed_buildset_t *given, capstan_plugin_decisions_decision_t *answer,
    capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    kept = remembered(state);
    if (!kept) return !cap_failure(error);
    scheduler_completed(params, kept, now, completed_of(given));
    if (cap_failure(error)) return false;
    *answer = shared();
    return true;
}

bool exports_capstan_plugin_migration_migrate(
    wit_string_t *config, wit_string_t *from_version, wit_list_u8_t *old, wit_list_u8_t *answer,
    capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    const cap_json *state = remembered(old);
    if (!state) return !cap_failure(error);
    const cap_json *moved = scheduler_migrate(params, taken(from_version), state);
    if (cap_failure(error)) return false;
    *answer = written(moved ? moved : state);
    return true;
}
