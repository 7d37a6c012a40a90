// Builds a branch at every second change, later if it has to; counts what it is told.

#include <capstan.h>
#include <string.h>

static const cap_json *counted(const cap_json *state, const char *name) {
    return cap_with(state, name, cap_decimal((int64_t)cap_number(state, name, 0) + 1));
}

static void submit(const cap_json *state, const cap_change *change) {
    const cap_json *waiting = cap_get(state, "waiting");
    int64_t changes[8];
    size_t count = cap_count(waiting) < 8 ? cap_count(waiting) : 8;
    for (size_t place = 0; place < count; place++) changes[place] = (int64_t)cap_as_number(cap_at(waiting, place), 0);
    const cap_json *files = NULL;
    for (const char *const *file = change->files; *file; file++) files = cap_append(files, cap_quote(*file));
    const cap_json *properties = cap_with(NULL, "files", cap_write(files));
    properties = cap_with(properties, "color", cap_write(cap_get(change->properties, "color")));
    const char *const builders[] = {"hello", NULL};
    cap_source source = {.repository = change->repository, .branch = change->branch, .revision = change->revision};
    cap_submit(&(cap_buildset){
        .reason = cap_join(cap_decimal((int64_t)count), " changes by ", change->author, NULL),
        .builders = builders,
        .sources = &source,
        .source_count = 1,
        .priority = 3,
        .properties = properties,
        .changes = changes,
        .change_count = count,
    });
    cap_clear_timer("late");
    cap_keep(cap_without(state, "waiting"));
}

static void changed(const cap_json *params, const cap_json *state, int64_t now, const cap_change *change) {
    if (strcmp(change->comments, "bad") == 0) {
        cap_permanent(cap_join("no such change: ", change->revision, NULL));
        return;
    }
    const cap_json *waiting = cap_append(cap_get(state, "waiting"), cap_decimal(change->id));
    state = cap_with(state, "waiting", cap_write(waiting));
    cap_keep(state);
    if (!change->branch || strcmp(change->branch, cap_text(params, "branch", "")) != 0 || cap_count(waiting) < 2) {
        cap_set_timer("late", now + (int64_t)cap_number(params, "quiet", 1000));
        return;
    }
    submit(state, change);
}

static const cap_json *ended(const cap_json *state, const cap_build *build) {
    state = counted(state, build->outcome == CAP_SUCCESS ? "success" : "failure");
    const char *revision = build->source_count && build->sources->revision ? build->sources->revision : "";
    const char *words = cap_join(build->builder, " ", cap_decimal((int64_t)build->number), " ", revision, NULL);
    return cap_with(state, "builder", cap_quote(words));
}

void scheduler_handle(const cap_json *params, const cap_json *state, int64_t now, const cap_event *event) {
    switch (event->kind) {
    case CAP_STARTED:
        cap_keep(counted(state, "started"));
        cap_set_timer("first", now + (int64_t)cap_number(params, "quiet", 1000));
        break;
    case CAP_CHANGE:
        changed(params, state, now, event->change);
        break;
    case CAP_TIMER:
        cap_keep(cap_with(state, "timers", cap_write(cap_append(cap_get(state, "timers"), cap_quote(event->timer)))));
        break;
    case CAP_FINISHED:
        cap_keep(ended(state, event->build));
        break;
    }
}

const cap_json *scheduler_describe(const cap_json *params) {
    const cap_json *field = cap_with(NULL, "name", "\"version\"");
    field = cap_with(field, "type", "\"string\"");
    field = cap_with(field, "label", cap_quote(cap_join("Ver\u017eion ", cap_text(params, "branch", ""), NULL)));
    const cap_json *form = cap_with(NULL, "kind", "\"force\"");
    return cap_with(form, "fields", cap_write(cap_append(NULL, cap_write(field))));
}

void scheduler_call(const cap_json *params, const cap_json *state, int64_t now, const cap_json *call) {
    const char *version = cap_text(cap_get(call, "values"), "version", "");
    if (!*version) {
        cap_problem("values.version", "expected a version, found none");
        return;
    }
    cap_keep(counted(state, "calls"));
    const cap_json *properties = cap_with(NULL, "version", cap_quote(version));
    properties = cap_with(properties, "owner", cap_write(cap_get(call, "owner")));
    properties = cap_with(properties, "size", cap_write(cap_get(cap_get(call, "properties"), "size")));
    const cap_json *given = cap_at(cap_get(call, "sources"), 0);
    cap_source source = {
        .codebase = cap_text(given, "codebase", ""),
        .repository = cap_text(given, "repository", ""),
        .branch = cap_text(given, "branch", NULL),
    };
    const char *const builders[] = {cap_as_text(cap_at(cap_get(call, "builders"), 0), ""), NULL};
    cap_submit(&(cap_buildset){
        .reason = cap_text(call, "reason", "asked"),
        .builders = cap_get(call, "builders") ? builders : NULL,
        .sources = &source,
        .source_count = given ? 1 : 0,
        .priority = (int32_t)cap_number(call, "priority", 1),
        .properties = properties,
    });
    cap_set_timer("after", now + (int64_t)cap_number(params, "quiet", 1000));
    cap_clear_timer("before");
}

static const char *word(cap_outcome outcome) { return outcome == CAP_SUCCESS ? "success" : "failure"; }

void scheduler_completed(const cap_json *params, const cap_json *state, int64_t now, const cap_completed *set) {
    (void)params, (void)now;
    const char *seen = cap_join(set->scheduler, " ", cap_decimal(set->id), " ", word(set->outcome), " ", NULL);
    seen = cap_join(seen, cap_as_text(cap_get(set->properties, "color"), ""), ":", NULL);
    for (size_t place = 0; place < set->build_count; place++) {
        const cap_build *build = &set->builds[place];
        const char *number = cap_decimal((int64_t)build->number);
        seen = cap_join(seen, place ? ", " : " ", build->builder, " ", number, " ", NULL);
        seen = cap_join(seen, word(build->outcome), " ", build->sources->revision, NULL);
    }
    cap_keep(cap_with(state, "seen", cap_quote(seen)));
    if (set->outcome != CAP_SUCCESS) return;
    cap_submit(&(cap_buildset){
        .reason = cap_join("after ", set->reason, NULL),
        .sources = set->sources,
        .source_count = set->source_count,
        .changes = set->changes,
        .change_count = set->change_count,
    });
}

const cap_json *scheduler_migrate(const cap_json *params, const char *from_version, const cap_json *state) {
    (void)params;
    return cap_with(state, "migrated", cap_quote(from_version));
}
