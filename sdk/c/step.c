// Steps: commands, and the build that the step belongs to.

#include <stdlib.h>
#include <string.h>

#include "internal.h"

typedef capstan_plugin_commands_borrow_spec_t spec_t;

bool exports_capstan_plugin_step_check(wit_string_t *config, capstan_plugin_types_plugin_error_t *error) {
    return cap_check(config, error);
}

bool exports_capstan_plugin_step_run(
    wit_string_t *config, uint8_t *outcome, capstan_plugin_types_plugin_error_t *error
) {
    const cap_json *params = cap_params(config, error);
    if (!params) return false;
    cap_outcome answered = step_run(params);
    if (cap_failure(error)) return false;
    if (cap_failed()) {
        const char *summary;
        answered = cap_ended(&summary);
        if (*summary) cap_set_summary(summary);
    }
    if (answered > CAP_CANCELLED) cap_panic("expected an outcome, or CAP_STOP after a failure; found something else");
    *outcome = (uint8_t)answered;
    return true;
}

static void set_variable(spec_t spec, const cap_variable *variable) {
    wit_string_t name = cap_give(variable->name);
    if (variable->secret) {
        wit_string_t secret = cap_give(variable->secret);
        capstan_plugin_commands_method_spec_set_secret_env(spec, &name, &secret);
    } else if (variable->value) {
        wit_string_t value = cap_give(variable->value);
        capstan_plugin_commands_method_spec_set_env(spec, &name, &value);
    } else {
        capstan_plugin_commands_method_spec_unset_env(spec, &name);
    }
}

static capstan_plugin_commands_own_spec_t program(const cap_command *command) {
    if (!command->argv) {
        wit_string_t line = cap_give(command->shell);
        return capstan_plugin_commands_static_spec_shell(&line);
    }
    size_t count = 0;
    while (command->argv[count]) count++;
    wit_list_string_t argv = {cap_allocate(count * sizeof(wit_string_t)), count};
    for (size_t place = 0; place < count; place++) argv.ptr[place] = cap_give(command->argv[place]);
    return capstan_plugin_commands_static_spec_argv(&argv);
}

static uint64_t span(uint64_t ms) { return ms == CAP_NEVER ? 0 : ms; }

static capstan_plugin_commands_own_spec_t specify(const cap_command *command) {
    capstan_plugin_commands_own_spec_t own = program(command);
    spec_t spec = capstan_plugin_commands_borrow_spec(own);
    for (const cap_variable *variable = command->variables; variable && variable->name; variable++) {
        set_variable(spec, variable);
    }
    if (command->workdir) {
        wit_string_t path = cap_give(command->workdir);
        capstan_plugin_commands_method_spec_set_workdir(spec, &path);
    }
    if (command->log) {
        wit_string_t name = cap_give(command->log);
        capstan_plugin_commands_method_spec_set_log(spec, &name);
    }
    if (command->idle_ms) capstan_plugin_commands_method_spec_set_idle_timeout(spec, span(command->idle_ms));
    if (command->total_ms) capstan_plugin_commands_method_spec_set_total_timeout(spec, span(command->total_ms));
    if (command->grace_ms) capstan_plugin_commands_method_spec_set_term_grace(spec, span(command->grace_ms));
    if (command->capture) capstan_plugin_commands_method_spec_set_capture_stdout(spec, command->capture);
    return own;
}

// The four cases hold a text each.
static bool refused(const capstan_plugin_commands_command_error_t *error) {
    const char *text = cap_take(error->val.denied.ptr, error->val.denied.len);
    switch (error->tag) {
    case CAPSTAN_PLUGIN_COMMANDS_COMMAND_ERROR_CANCELLED:
        cap_end(CAP_CANCELLED, cap_join("stopped: ", text, NULL));
        break;
    case CAPSTAN_PLUGIN_COMMANDS_COMMAND_ERROR_WORKER_LOST:
        cap_end(CAP_RETRY, cap_join("worker lost: ", text, NULL));
        break;
    default:
        cap_permanent(text);
    }
    return false;
}

static const char *trimmed(const wit_list_u8_t *bytes) {
    const uint8_t *start = bytes->ptr, *end = bytes->ptr + bytes->len;
    while (start < end && strchr(" \t\r\n", *start)) start++;
    while (end > start && strchr(" \t\r\n", end[-1])) end--;
    return cap_take(start, (size_t)(end - start));
}

static bool complete(const capstan_plugin_commands_completion_t *from, cap_done *done) {
    *done = (cap_done){
        .exit = (cap_exit)from->exit.tag,
        .reason = "",
        .duration_ms = from->duration_ms,
        .stdout_bytes = from->stdout_bytes,
        .stderr_bytes = from->stderr_bytes,
        .text = trimmed(&from->stdout_),
    };
    if (done->exit == CAP_CODE || done->exit == CAP_SIGNAL) done->code = from->exit.val.code;
    if (done->exit == CAP_KILLED || done->exit == CAP_NOT_STARTED) {
        done->reason = cap_take(from->exit.val.killed.ptr, from->exit.val.killed.len);
    }
    return true;
}

bool cap_run(const cap_command *command, cap_done *done) {
    capstan_plugin_commands_completion_t completion;
    capstan_plugin_commands_command_error_t error;
    capstan_plugin_commands_own_spec_t own = specify(command);
    bool good = capstan_plugin_commands_run(capstan_plugin_commands_borrow_spec(own), &completion, &error);
    capstan_plugin_commands_spec_drop_own(own);
    return good ? complete(&completion, done) : refused(&error);
}

bool cap_start(const cap_command *command, cap_started *started) {
    capstan_plugin_commands_own_command_t handle;
    capstan_plugin_commands_command_error_t error;
    capstan_plugin_commands_own_spec_t own = specify(command);
    bool good = capstan_plugin_commands_start(capstan_plugin_commands_borrow_spec(own), &handle, &error);
    capstan_plugin_commands_spec_drop_own(own);
    if (!good) return refused(&error);
    *started = handle.__handle;
    return true;
}

static capstan_plugin_commands_borrow_command_t borrowed(cap_started started) {
    return capstan_plugin_commands_borrow_command((capstan_plugin_commands_own_command_t){started});
}

bool cap_wait(cap_started started, cap_done *done) {
    capstan_plugin_commands_completion_t completion;
    capstan_plugin_commands_command_error_t error;
    bool good = capstan_plugin_commands_method_command_wait(borrowed(started), &completion, &error);
    return good ? complete(&completion, done) : refused(&error);
}

size_t cap_wait_any(const cap_started *started, size_t count) {
    capstan_plugin_commands_list_borrow_command_t list = {cap_allocate(count * sizeof *list.ptr), count};
    for (size_t place = 0; place < count; place++) list.ptr[place] = borrowed(started[place]);
    return capstan_plugin_commands_wait_any(&list);
}

void cap_kill(cap_started started, const char *reason) {
    wit_string_t text = cap_give(reason);
    capstan_plugin_commands_method_command_kill(borrowed(started), &text);
}

const char *cap_id(cap_started started) {
    wit_string_t id;
    capstan_plugin_commands_method_command_id(borrowed(started), &id);
    return cap_take(id.ptr, id.len);
}

cap_outcome cap_outcome_of(const cap_done *done) {
    if (done->exit == CAP_CODE && done->code == 0) return CAP_SUCCESS;
    cap_set_summary(cap_summary_of(done));
    return done->exit == CAP_KILLED ? CAP_EXCEPTION : CAP_FAILURE;
}

const char *cap_summary_of(const cap_done *done) {
    switch (done->exit) {
    case CAP_CODE:
        return done->code ? cap_join("exit code ", cap_decimal(done->code), NULL) : "done";
    case CAP_SIGNAL:
        return cap_join("ended by signal ", cap_decimal(done->code), NULL);
    case CAP_IDLE_TIMEOUT:
        return "timed out: no output";
    case CAP_TOTAL_TIMEOUT:
        return "timed out: ran too long";
    case CAP_KILLED:
        return cap_join("stopped: ", done->reason, NULL);
    default:
        return cap_join("not started: ", done->reason, NULL);
    }
}

const char *cap_step_name(void) {
    wit_string_t name;
    capstan_plugin_build_step_name(&name);
    return cap_take(name.ptr, name.len);
}

static const char *quoted(const wit_string_t *text) { return cap_quote(cap_take(text->ptr, text->len)); }

static const char *optional(const wit_option_string_t *text) { return text->is_some ? quoted(&text->val) : "null"; }

const cap_json *cap_sources(void) {
    capstan_plugin_build_list_source_stamp_t list;
    capstan_plugin_build_sources(&list);
    const char *json = "[";
    for (size_t place = 0; place < list.len; place++) {
        const capstan_plugin_types_source_stamp_t *stamp = &list.ptr[place];
        json = cap_join(
            json, place ? ",{" : "{", "\"codebase\":", quoted(&stamp->codebase), ",\"repository\":",
            quoted(&stamp->repository), ",\"project\":", quoted(&stamp->project), ",\"branch\":",
            optional(&stamp->branch), ",\"revision\":", optional(&stamp->revision), "}", NULL
        );
    }
    return cap_parse(cap_join(json, "]", NULL));
}

const cap_json *cap_property(const char *name) {
    wit_string_t given = cap_give(name);
    capstan_plugin_build_property_t found;
    if (!capstan_plugin_build_get_property(&given, &found)) return NULL;
    return cap_parse(cap_take(found.value.ptr, found.value.len));
}

bool cap_set_property(const char *name, const char *json) {
    wit_string_t given = cap_give(name), value = cap_give(json), error;
    if (capstan_plugin_build_set_property(&given, &value, &error)) return true;
    cap_permanent(cap_take(error.ptr, error.len));
    return false;
}

void cap_set_summary(const char *text) {
    wit_string_t given = cap_give(text);
    capstan_plugin_build_set_summary(&given);
}

void cap_add_link(const char *label, const char *url) {
    wit_string_t given = cap_give(label), address = cap_give(url);
    capstan_plugin_build_add_link(&given, &address);
}

void cap_write_log(const char *name, const char *text) {
    wit_string_t given = cap_give(name), words = cap_give(text);
    capstan_plugin_build_write_log(&given, &words);
}

void cap_end_build(cap_outcome outcome, const char *reason) {
    wit_string_t words = cap_give(reason);
    capstan_plugin_ending_end_build((uint8_t)outcome, &words);
}

static bool stored(
    bool good, const capstan_plugin_artefacts_artefact_t *from, const capstan_plugin_artefacts_artefact_error_t *error,
    cap_artefact *artefact
) {
    if (good) {
        if (artefact) {
            *artefact = (cap_artefact){
                .name = cap_take(from->name.ptr, from->name.len),
                .size = from->size,
                .sha256 = cap_take(from->sha256.ptr, from->sha256.len),
            };
        }
        return true;
    }
    // Every case holds a text.
    const char *text = cap_take(error->val.denied.ptr, error->val.denied.len);
    switch (error->tag) {
    case CAPSTAN_PLUGIN_ARTEFACTS_ARTEFACT_ERROR_MISSING:
    case CAPSTAN_PLUGIN_ARTEFACTS_ARTEFACT_ERROR_TOO_LARGE:
        cap_end(CAP_FAILURE, text);
        break;
    case CAPSTAN_PLUGIN_ARTEFACTS_ARTEFACT_ERROR_CANCELLED:
        cap_end(CAP_CANCELLED, cap_join("stopped: ", text, NULL));
        break;
    case CAPSTAN_PLUGIN_ARTEFACTS_ARTEFACT_ERROR_WORKER_LOST:
        cap_end(CAP_RETRY, cap_join("worker lost: ", text, NULL));
        break;
    case CAPSTAN_PLUGIN_ARTEFACTS_ARTEFACT_ERROR_UNAVAILABLE:
        cap_end(CAP_EXCEPTION, text);
        break;
    default:
        cap_permanent(text);
    }
    return false;
}

bool cap_publish(const char *path, const char *name, cap_artefact *artefact) {
    wit_string_t file = cap_give(path), given = cap_give(name);
    capstan_plugin_artefacts_artefact_t answer;
    capstan_plugin_artefacts_artefact_error_t error;
    bool good = capstan_plugin_artefacts_publish(&file, &given, &answer, &error);
    return stored(good, &answer, &error, artefact);
}

bool cap_write_artefact(const char *name, const void *bytes, size_t length, cap_artefact *artefact) {
    wit_string_t given = cap_give(name);
    // The bindings have no word for what is only read.
    uint8_t *copy = cap_allocate(length);
    if (length) memcpy(copy, bytes, length);
    wit_list_u8_t content = {copy, length};
    capstan_plugin_artefacts_artefact_t answer;
    capstan_plugin_artefacts_artefact_error_t error;
    bool good = capstan_plugin_artefacts_write(&given, &content, &answer, &error);
    return stored(good, &answer, &error, artefact);
}

// What is wrong in a call, and a right that is missing, are faults of the configuration.
static bool untriggered(const capstan_plugin_triggers_trigger_error_t *error) {
    if (error->tag == CAPSTAN_PLUGIN_TRIGGERS_TRIGGER_ERROR_REFUSED) {
        const char *all = "";
        for (size_t place = 0; place < error->val.refused.len; place++) {
            const capstan_plugin_triggers_problem_t *one = &error->val.refused.ptr[place];
            const char *path = cap_take(one->path.ptr, one->path.len), *message = cap_take(one->message.ptr, one->message.len);
            all = cap_join(all, *all ? "; " : "", path, *path ? ": " : "", message, NULL);
        }
        cap_permanent(all);
        return false;
    }
    // Every other case holds a text.
    const char *text = cap_take(error->val.denied.ptr, error->val.denied.len);
    switch (error->tag) {
    case CAPSTAN_PLUGIN_TRIGGERS_TRIGGER_ERROR_CANCELLED:
        cap_end(CAP_CANCELLED, cap_join("stopped: ", text, NULL));
        break;
    case CAPSTAN_PLUGIN_TRIGGERS_TRIGGER_ERROR_DEADLOCK:
        cap_end(CAP_EXCEPTION, text);
        break;
    default:
        cap_permanent(text);
    }
    return false;
}

bool cap_triggers_call(const char *scheduler, const cap_json *call, const int64_t **buildsets, size_t *count) {
    wit_string_t name = cap_give(scheduler), text = cap_give(call ? cap_write(call) : "{}");
    wit_list_s64_t made;
    capstan_plugin_triggers_trigger_error_t error;
    if (!capstan_plugin_triggers_call(&name, &text, &made, &error)) return untriggered(&error);
    if (buildsets) *buildsets = made.ptr;
    if (count) *count = made.len;
    return true;
}

static cap_triggered triggered(const capstan_plugin_triggers_completed_t *from) {
    cap_triggered_build *builds = cap_allocate(from->builds.len * sizeof *builds);
    for (size_t place = 0; place < from->builds.len; place++) {
        const capstan_plugin_triggers_triggered_build_t *build = &from->builds.ptr[place];
        builds[place] = (cap_triggered_build){
            .builder = cap_take(build->builder.ptr, build->builder.len),
            .number = build->number,
            .outcome = (cap_outcome)build->outcome,
        };
    }
    return (cap_triggered){
        .buildset = from->buildset,
        .scheduler = cap_take(from->scheduler.ptr, from->scheduler.len),
        .outcome = (cap_outcome)from->outcome,
        .builds = builds,
        .build_count = from->builds.len,
    };
}

bool cap_triggers_wait(
    const int64_t *buildsets, size_t count, bool give_back, const cap_triggered **completed, size_t *completed_count
) {
    // The bindings have no word for what is only read.
    int64_t *copy = cap_allocate(count * sizeof *copy);
    if (count) memcpy(copy, buildsets, count * sizeof *copy);
    wit_list_s64_t ids = {copy, count};
    capstan_plugin_triggers_list_completed_t answer;
    capstan_plugin_triggers_trigger_error_t error;
    if (!capstan_plugin_triggers_wait(&ids, give_back, &answer, &error)) return untriggered(&error);
    cap_triggered *all = cap_allocate(answer.len * sizeof *all);
    for (size_t place = 0; place < answer.len; place++) all[place] = triggered(&answer.ptr[place]);
    if (completed) *completed = all;
    if (completed_count) *completed_count = answer.len;
    return true;
}

int64_t cap_now(void) { return capstan_plugin_clock_now(); }

uint64_t cap_seed(void) { return capstan_plugin_entropy_seed(); }

bool cap_sleep(uint64_t ms) { return capstan_plugin_timers_sleep_ms(ms); }
