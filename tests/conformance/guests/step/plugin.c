// Does what its script says; what it was answered becomes the property `trace`.

#include <capstan.h>
#include <string.h>

enum { MAX_STARTED = 16, MAX_WORDS = 16, MAX_ASKED = 16 };

static cap_started started[MAX_STARTED];
static size_t started_count;
static int64_t asked[MAX_ASKED];
static size_t asked_count;

void plugin_check(const cap_json *params) {
    const cap_json *script = cap_get(params, "script"), *env = cap_get(params, "env");
    if (cap_kind_of(script) != CAP_LIST) cap_problem("script", "expected a list");
    for (size_t place = 0; place < cap_count(env); place++) {
        const char *path = cap_join("env.", cap_name_at(env, place), NULL);
        if (cap_kind_of(cap_at(env, place)) != CAP_TEXT) cap_problem(path, "expected a text");
    }
    if (strcmp(cap_text(params, "note", ""), "bad") == 0) cap_problem("note", "expected a good note, found bad");
    for (size_t place = 0; place < cap_count(env); place++) {
        const char *name = cap_name_at(env, place);
        if (strchr(name, ' ')) cap_problem(cap_join("env.", name, NULL), "expected a name without blanks");
    }
}

static const char *said(const cap_done *done) {
    return cap_join(cap_summary_of(done), " [", done->text, "]", NULL);
}

// The members of two objects: `env`, where null removes, and `secrets`.
static const cap_variable *variables(const cap_json *op) {
    static cap_variable all[MAX_WORDS + 1];
    const cap_json *env = cap_get(op, "env"), *secrets = cap_get(op, "secrets");
    size_t count = 0;
    memset(all, 0, sizeof all);
    for (size_t place = 0; place < cap_count(env) && count < MAX_WORDS; place++) {
        all[count++] = (cap_variable){cap_name_at(env, place), cap_as_text(cap_at(env, place), NULL), NULL};
    }
    for (size_t place = 0; place < cap_count(secrets) && count < MAX_WORDS; place++) {
        all[count++] = (cap_variable){cap_name_at(secrets, place), NULL, cap_as_text(cap_at(secrets, place), "")};
    }
    return all;
}

// A limit of 0 is none.
static uint64_t limit(const cap_json *op, const char *name) {
    uint64_t ms = cap_span(op, name, 0);
    return cap_get(op, name) && !ms ? CAP_NEVER : ms;
}

static cap_command command(const cap_json *op) {
    static const char *words[MAX_WORDS + 1];
    const cap_json *argv = cap_get(op, "argv");
    memset(words, 0, sizeof words);
    for (size_t place = 0; place < cap_count(argv) && place < MAX_WORDS; place++) {
        words[place] = cap_as_text(cap_at(argv, place), "");
    }
    return (cap_command){
        .argv = argv ? words : NULL,
        .shell = cap_text(op, "shell", NULL),
        .workdir = cap_text(op, "workdir", NULL),
        .variables = variables(op),
        .log = cap_text(op, "log", NULL),
        .idle_ms = limit(op, "timeout"),
        .total_ms = limit(op, "max_time"),
        .grace_ms = limit(op, "term_grace"),
        .capture = (uint32_t)cap_number(op, "capture", 0),
    };
}

static const char *wait_all(void) {
    cap_started left[MAX_STARTED];
    size_t places[MAX_STARTED], count = started_count;
    const char *order = "";
    for (size_t place = 0; place < count; place++) left[place] = started[place], places[place] = place;
    while (count) {
        cap_done done;
        size_t first = cap_wait_any(left, count);
        if (!cap_wait(left[first], &done)) return NULL;
        const char *which = cap_decimal((int64_t)places[first]);
        order = cap_join(order, *order ? ", " : "", which, " ", said(&done), NULL);
        count--;
        memmove(&left[first], &left[first + 1], (count - first) * sizeof *left);
        memmove(&places[first], &places[first + 1], (count - first) * sizeof *places);
    }
    return order;
}

static const char *json(const cap_json *value) {
    switch (cap_kind_of(value)) {
    case CAP_NUMBER:
        return cap_decimal((int64_t)cap_as_number(value, 0));
    case CAP_BOOL:
        return cap_as_bool(value, false) ? "true" : "false";
    case CAP_TEXT:
        return cap_quote(cap_as_text(value, ""));
    default:
        return "null";
    }
}

static const char *all_sources(void) {
    const cap_json *sources = cap_sources();
    const char *all = "";
    for (size_t place = 0; place < cap_count(sources); place++) {
        const cap_json *one = cap_at(sources, place);
        const char *branch = cap_text(one, "branch", "-"), *revision = cap_text(one, "revision", "-");
        all = cap_join(all, *all ? ", " : "", cap_text(one, "repository", ""), " ", branch, " ", revision, NULL);
    }
    return all;
}

static cap_outcome outcome(const char *word) {
    for (int which = 0; which < 7; which++) {
        if (strcmp(word, cap_outcome_name((cap_outcome)which)) == 0) return (cap_outcome)which;
    }
    cap_panic("expected an outcome");
}

static const char *stored(bool good, const cap_artefact *artefact) {
    if (!good) return NULL;
    const char *size = cap_decimal((int64_t)artefact->size);
    char digest[9] = {0};
    memcpy(digest, artefact->sha256, 8);
    return cap_join(artefact->name, " ", size, " ", digest, NULL);
}

static const char *trigger(const cap_json *op) {
    const int64_t *made;
    size_t count;
    if (!cap_triggers_call(cap_text(op, "name", ""), cap_get(op, "value"), &made, &count)) return NULL;
    for (size_t place = 0; place < count && asked_count < MAX_ASKED; place++) asked[asked_count++] = made[place];
    return cap_decimal((int64_t)count);
}

static const char *wait_for_builds(void) {
    const cap_triggered *sets;
    size_t count;
    if (!cap_triggers_wait(asked, asked_count, true, &sets, &count)) return NULL;
    const char *all = "";
    for (size_t place = 0; place < count; place++) {
        const cap_triggered *set = &sets[place];
        all = cap_join(all, place ? ", " : "", set->scheduler, " ", cap_outcome_name(set->outcome), NULL);
        for (size_t which = 0; which < set->build_count; which++) {
            const cap_triggered_build *build = &set->builds[which];
            const char *number = cap_decimal((int64_t)build->number);
            all = cap_join(all, " ", build->builder, "/", number, " ", cap_outcome_name(build->outcome), NULL);
        }
    }
    return all;
}

// ANCHOR: asks
// Has a scheduler build what this build builds; what does not succeed ends the step.
static bool build_with(const char *scheduler) {
    const cap_json *call = cap_parse("{\"sources\": \"own\", \"properties\": {\"channel\": \"beta\"}}");
    const int64_t *made;
    const cap_triggered *sets;
    size_t count;
    if (!cap_triggers_call(scheduler, call, &made, &count)) return false;
    if (!cap_triggers_wait(made, count, true, &sets, &count)) return false;
    for (size_t place = 0; place < count; place++) {
        for (size_t which = 0; which < sets[place].build_count; which++) {
            const cap_triggered_build *build = &sets[place].builds[which];
            const char *number = cap_decimal((int64_t)build->number), *word = cap_outcome_name(build->outcome);
            cap_write_log("builds", cap_join(build->builder, "/", number, ": ", word, "\n", NULL));
        }
        if (sets[place].outcome == CAP_SUCCESS) continue;
        cap_end(sets[place].outcome, cap_join(scheduler, ": ", cap_outcome_name(sets[place].outcome), NULL));
        return false;
    }
    return true;
}
// ANCHOR_END: asks

// What it was answered; NULL after a failure.
static const char *play(const char *what, const cap_json *op) {
    const char *text = cap_text(op, "text", ""), *name = cap_text(op, "name", "");
    cap_command given = command(op);
    cap_done done;
    cap_artefact artefact;
    if (strcmp(what, "run") == 0) return cap_run(&given, &done) ? said(&done) : NULL;
    if (strcmp(what, "check") == 0) {
        if (!cap_run(&given, &done)) return NULL;
        if (done.exit == CAP_CODE && done.code == 0) return said(&done);
        cap_end(cap_outcome_of(&done), "");
    } else if (strcmp(what, "start") == 0) {
        cap_start(&given, &started[started_count++]);
    } else if (strcmp(what, "wait-all") == 0) {
        return wait_all();
    } else if (strcmp(what, "kill") == 0) {
        cap_kill(started[(size_t)cap_number(op, "which", 0)], text);
    } else if (strcmp(what, "sleep") == 0) {
        return cap_sleep(cap_span(op, "span", 0)) ? "true" : "false";
    } else if (strcmp(what, "now") == 0) {
        return cap_decimal(cap_now());
    } else if (strcmp(what, "seed") == 0) {
        return cap_decimal((int64_t)cap_seed());
    } else if (strcmp(what, "name") == 0) {
        return cap_step_name();
    } else if (strcmp(what, "sources") == 0) {
        return all_sources();
    } else if (strcmp(what, "get") == 0) {
        return json(cap_property(name));
    } else if (strcmp(what, "set") == 0) {
        cap_set_property(name, json(cap_get(op, "value")));
    } else if (strcmp(what, "summary") == 0) {
        cap_set_summary(text);
    } else if (strcmp(what, "link") == 0) {
        cap_add_link(text, cap_text(op, "url", ""));
    } else if (strcmp(what, "text") == 0) {
        cap_write_log(cap_text(op, "log", ""), text);
    } else if (strcmp(what, "publish") == 0) {
        return stored(cap_publish(text, name, &artefact), &artefact);
    } else if (strcmp(what, "artefact") == 0) {
        return stored(cap_write_artefact(name, text, strlen(text), &artefact), &artefact);
    } else if (strcmp(what, "end-build") == 0) {
        cap_end_build(outcome(cap_text(op, "outcome", "")), text);
    } else if (strcmp(what, "trigger") == 0) {
        return trigger(op);
    } else if (strcmp(what, "await") == 0) {
        return wait_for_builds();
    } else if (strcmp(what, "build-with") == 0) {
        build_with(name);
    } else if (strcmp(what, "log") == 0) {
        cap_info(text);
    } else if (strcmp(what, "stop") == 0) {
        cap_end(outcome(cap_text(op, "outcome", "")), text);
    } else if (strcmp(what, "transient") == 0) {
        cap_transient(text);
    } else if (strcmp(what, "permanent") == 0) {
        cap_permanent(text);
    } else if (strcmp(what, "bug") == 0) {
        cap_panic(text);
    }
    return cap_failed() ? NULL : "";
}

cap_outcome step_run(const cap_json *params) {
    const cap_json *script = cap_get(params, "script");
    const char *trace = "[";
    for (size_t place = 0; place < cap_count(script); place++) {
        const cap_json *op = cap_at(script, place);
        const char *what = cap_text(op, "do", "");
        const char *answer = play(what, op);
        if (!answer) return CAP_STOP;
        const char *line = cap_quote(cap_join(what, ": ", answer, NULL));
        trace = cap_join(trace, place ? "," : "", line, NULL);
    }
    if (!cap_set_property("trace", cap_join(trace, "]", NULL))) return CAP_STOP;
    return CAP_WARNINGS;
}
