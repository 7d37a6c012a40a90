// Write plugins for Capstan in C: steps, schedulers, reporters and generators.
//
//     #include <capstan.h>
//
//     cap_outcome step_run(const cap_json *params) {
//         cap_done done;
//         const char *const argv[] = {"make", cap_text(params, "target", "all"), NULL};
//         if (!cap_run(&(cap_command){.argv = argv}, &done)) return CAP_STOP;
//         return cap_outcome_of(&done);
//     }
//
// Functions that answer `bool` answer false when the plugin cannot go on: the build was stopped, a right is missing, a server is
// down. The reason is kept, and is what the master hears: just return, `CAP_STOP` from a step.
//
// Nothing is ever freed: what a call allocates is gone with its instance when the call ends. Texts are UTF-8 and end with a
// zero byte. There is no WASI: no stdio.h, no files, no time; join texts with `cap_join`.
#ifndef CAPSTAN_H
#define CAPSTAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// ---- what a plugin implements ----

typedef enum {
    CAP_SUCCESS,
    CAP_WARNINGS,
    CAP_FAILURE,
    CAP_SKIPPED,
    CAP_EXCEPTION,
    CAP_RETRY,
    CAP_CANCELLED,
    // The reason is known to the SDK: see above.
    CAP_STOP = 255
} cap_outcome;

// Its word: "success", "failure".
const char *cap_outcome_name(cap_outcome outcome);

typedef struct cap_json cap_json;

// Checks what the schema of the parameters cannot say; calls `cap_problem` for each fault. Optional.
void plugin_check(const cap_json *params);

// A step does its work. It must be deterministic: after a restart of the master it is run again from its beginning, answered
// from its journal, and must ask for the same things.
cap_outcome step_run(const cap_json *params);

// A reporter delivers one report, which has the members that `to-json` has in wit/plugin.wit: `builder`, `number`, `outcome`,
// `delivery_id`, and so on. The text is the same, as it came.
void reporter_deliver(const cap_json *params, const cap_json *report, const char *text);

typedef struct cap_event cap_event;

// A scheduler handles one event, without side effects: the master stores the state and what it decided in one transaction, and
// makes a call that was cut off again. The state is an empty object at first; see `cap_keep`.
void scheduler_handle(const cap_json *params, const cap_json *state, int64_t now, const cap_event *event);
// With exports = ["calls"] under [build] in plugin.toml: what to ask a person for, an object with `kind` ("trigger", "force" or "try")
// and `fields`, a list of objects with at least `name`, `type` and `label`.
const cap_json *scheduler_describe(const cap_json *params);
// Handles one call, an object with `kind` and as far as they are given `owner`, `reason`, `builders`, `sources`, `properties`,
// `values` (what was filled in, by field), `patch` and `priority`. `cap_problem` says what is wrong in it, by its path there: nothing
// has happened then.
void scheduler_call(const cap_json *params, const cap_json *state, int64_t now, const cap_json *call);

typedef struct cap_completed cap_completed;

// With exports = ["completions"]: handles one complete buildset of the schedulers that it follows. Those are what its parameters name
// whose schema has the format `scheduler`.
void scheduler_completed(const cap_json *params, const cap_json *state, int64_t now, const cap_completed *set);
// The state that another version of the plugin left, in the form of this version. Optional; NULL is the state as it is.
const cap_json *scheduler_migrate(const cap_json *params, const char *from_version, const cap_json *state);

// A generator makes builders of its parameters with `cap_add_builder`. The same parameters have to make the same builders: there is
// nothing else to make them of.
void generator_generate(const cap_json *params);

// ---- how a plugin fails ----

// A fault in the parameters, at `path`: "command", "env.PATH".
void cap_problem(const char *path, const char *message);
// It may work later: the master tries again, with growing pauses. Answers CAP_STOP.
cap_outcome cap_transient(const char *message);
// It will not work until somebody does something. Answers CAP_STOP.
cap_outcome cap_permanent(const char *message);
// Ends a step with this outcome, and a few words for the people who look at it. Answers CAP_STOP.
cap_outcome cap_end(cap_outcome outcome, const char *summary);
// Whether the plugin failed already, in one of these ways.
bool cap_failed(void);
// Writes to the host's log and ends the plugin at once, as a bug does.
_Noreturn void cap_panic(const char *message);

// ---- texts and JSON ----

// All of these texts in one; the last argument is NULL.
char *cap_join(const char *first, ...);
// A number as a text.
const char *cap_decimal(int64_t number);
// A text as JSON, with its quotes.
char *cap_quote(const char *text);

typedef enum { CAP_NULL, CAP_BOOL, CAP_NUMBER, CAP_TEXT, CAP_LIST, CAP_OBJECT } cap_kind;

// Reads JSON; NULL if it is none, is nested deeper than 64, or holds a text with a zero in it.
const cap_json *cap_parse(const char *text);
// A value as JSON; that of NULL is null.
const char *cap_write(const cap_json *value);
// The object with this member, whose value is JSON; one of that name is replaced. The object itself stays as it is; NULL counts
// as one without members.
const cap_json *cap_with(const cap_json *object, const char *name, const char *json);
// The object without this member.
const cap_json *cap_without(const cap_json *object, const char *name);
// The list with one more value at its end, which is JSON; NULL counts as one without values.
const cap_json *cap_append(const cap_json *list, const char *json);
// What a value is; that of NULL is CAP_NULL.
cap_kind cap_kind_of(const cap_json *value);
// A member of an object; NULL if there is none.
const cap_json *cap_get(const cap_json *object, const char *name);
// How many a list or an object has.
size_t cap_count(const cap_json *value);
// One of a list, or the value of an object's member, from 0.
const cap_json *cap_at(const cap_json *value, size_t place);
// The name of an object's member.
const char *cap_name_at(const cap_json *object, size_t place);
// What a value holds; the fallback if it is something else.
const char *cap_as_text(const cap_json *value, const char *fallback);
double cap_as_number(const cap_json *value, double fallback);
bool cap_as_bool(const cap_json *value, bool fallback);
// A duration in milliseconds: a number of seconds, or a text such as "30s", "20min", "12h".
uint64_t cap_as_span(const cap_json *value, uint64_t fallback);
// The same of a member.
const char *cap_text(const cap_json *object, const char *name, const char *fallback);
double cap_number(const cap_json *object, const char *name, double fallback);
bool cap_bool(const cap_json *object, const char *name, bool fallback);
uint64_t cap_span(const cap_json *object, const char *name, uint64_t fallback);

// ---- the host's log: for the plugin's author and the operator, no part of any build's log ----

void cap_debug(const char *message);
void cap_info(const char *message);
void cap_warn(const char *message);
void cap_error(const char *message);

// ---- steps: commands ----

// A variable of a command. Without value and secret it is removed.
typedef struct {
    const char *name;
    // `${NAME}` in it is the worker's own variable.
    const char *value;
    // The name of a secret, whose value is masked in every log.
    const char *secret;
} cap_variable;

// Instead of 0, which is the default.
#define CAP_NEVER UINT64_MAX

// What to run: `argv`, which ends with NULL, or `shell`. The rest may be left out.
typedef struct {
    const char *const *argv;
    const char *shell;
    // Relative to the builder's folder; `build` by default.
    const char *workdir;
    // The last one has no name.
    const cap_variable *variables;
    // The log for its output; `stdio` by default.
    const char *log;
    // In milliseconds: how long it may print nothing (20 minutes by default), how long it may take (CAP_NEVER by default),
    // how long it has between being asked to end and being killed (10 seconds by default).
    uint64_t idle_ms, total_ms, grace_ms;
    // How many bytes of standard output to bring back, at most 65536.
    uint32_t capture;
} cap_command;

typedef enum { CAP_CODE, CAP_SIGNAL, CAP_IDLE_TIMEOUT, CAP_TOTAL_TIMEOUT, CAP_KILLED, CAP_NOT_STARTED } cap_exit;

// How a command ended, once every byte of its output is stored.
typedef struct {
    cap_exit exit;
    // The exit code, or the signal's number.
    int32_t code;
    // Why it was killed or not started; else "".
    const char *reason;
    uint64_t duration_ms, stdout_bytes, stderr_bytes;
    // What was captured of standard output, without the white space around it.
    const char *text;
} cap_done;

// A command that was started.
typedef int32_t cap_started;

bool cap_run(const cap_command *command, cap_done *done);
// Started commands go on side by side.
bool cap_start(const cap_command *command, cap_started *started);
bool cap_wait(cap_started started, cap_done *done);
// Waits until one of them has ended, and answers its place.
size_t cap_wait_any(const cap_started *started, size_t count);
// Stops its process tree.
void cap_kill(cap_started started, const char *reason);
// The id that makes it run once.
const char *cap_id(cap_started started);
// The usual outcome of a step that runs just this. What did not end well becomes the step's summary.
cap_outcome cap_outcome_of(const cap_done *done);
// How it ended, in a few words.
const char *cap_summary_of(const cap_done *done);

// ---- steps: the build ----

const char *cap_step_name(void);
// What the build was asked to check out: a list of objects with the members `codebase`, `repository`, `project`, `branch`, `revision`.
const cap_json *cap_sources(void);
// A property of the build; NULL if there is none.
const cap_json *cap_property(const char *name);
// Sets a property; the value is JSON.
bool cap_set_property(const char *name, const char *json);
void cap_set_summary(const char *text);
void cap_add_link(const char *label, const char *url);
// Appends to a log of this step.
void cap_write_log(const char *name, const char *text);
// Has the build end when this step has returned, with this result. Steps that always run still do.
void cap_end_build(cap_outcome outcome, const char *reason);
// Milliseconds since 1970, the same on every replay.
int64_t cap_now(void);
// A number that is fixed for the life of the step.
uint64_t cap_seed(void);
// Waits, over restarts of the master too. False if the step was stopped meanwhile.
bool cap_sleep(uint64_t ms);

// ---- steps: artefacts ----

// A file as it was stored at the master.
typedef struct {
    const char *name;
    uint64_t size;
    // The digest of its bytes, in 64 hexadecimal digits.
    const char *sha256;
} cap_artefact;

// Stores a file of the worker as an artefact of the build. The path is relative to the builder's folder: "build/dist/app.whl".
// A file that is not there or too large fails the step. The last argument may be NULL.
bool cap_publish(const char *path, const char *name, cap_artefact *stored);
// Stores what the step itself made, at most 1 MiB.
bool cap_write_artefact(const char *name, const void *bytes, size_t length, cap_artefact *stored);

// ---- steps: builds of other schedulers ----

// A build of a buildset.
typedef struct {
    const char *builder;
    uint64_t number;
    cap_outcome outcome;
} cap_triggered_build;

// A buildset of which all requests have ended.
typedef struct {
    int64_t buildset;
    const char *scheduler;
    // The worst of its builds, and of its requests that never became one.
    cap_outcome outcome;
    // Oldest first; none for a request that was cancelled before it became a build.
    const cap_triggered_build *builds;
    size_t build_count;
} cap_triggered;

// Asks a scheduler for builds; answers its buildsets, of which there may be none. The call is an object with, as far as they are
// given, `reason`, `builders`, `properties`, `priority` and `sources`: a list of objects as `cap_sources` has them, or "own" for
// what the build itself checks out, at the revisions that it got. NULL is a call without members. The last two arguments may be
// NULL.
bool cap_triggers_call(const char *scheduler, const cap_json *call, const int64_t **buildsets, size_t *count);
// Waits until each of these buildsets is complete, which this step must have asked for. With `give_back` others may use the build's
// slot on its worker meanwhile. The last two arguments may be NULL.
bool cap_triggers_wait(
    const int64_t *buildsets, size_t count, bool give_back, const cap_triggered **completed, size_t *completed_count
);

// ---- schedulers: events ----

// What to check out for one codebase. Without a revision it is the newest one of the branch, without a branch the default one.
typedef struct {
    const char *codebase, *repository, *project;
    const char *branch, *revision;
} cap_source;

// A change that a change source reported. Branch and category may be NULL; files end with NULL.
typedef struct {
    int64_t id;
    const char *source, *codebase, *repository, *project, *branch, *revision, *author, *comments, *category;
    const char *const *files;
    // Milliseconds since 1970.
    int64_t when;
    // By name; a value that `cap_parse` does not read is null.
    const cap_json *properties;
} cap_change;

// A build that has ended.
typedef struct {
    const char *builder;
    uint64_t number;
    cap_outcome outcome;
    const cap_source *sources;
    size_t source_count;
} cap_build;

// A buildset of which all requests have ended. The outcome is the worst of its requests; the properties are as those of a change.
struct cap_completed {
    int64_t id;
    const char *scheduler;
    cap_outcome outcome;
    const char *reason;
    const cap_source *sources;
    size_t source_count;
    const cap_json *properties;
    // By id.
    const int64_t *changes;
    size_t change_count;
    // Oldest first.
    const cap_build *builds;
    size_t build_count;
};

// The scheduler or the master was started; a change came; a timer is due; a build ended.
typedef enum { CAP_STARTED, CAP_CHANGE, CAP_TIMER, CAP_FINISHED } cap_event_kind;

// One of them is set, as the kind says.
struct cap_event {
    cap_event_kind kind;
    const cap_change *change;
    // The name under which it was set.
    const char *timer;
    const cap_build *build;
};

// ---- schedulers: decisions ----

// A request for one build on each of some builders. All but the reason may be left out.
typedef struct {
    const char *reason;
    // Ends with NULL; all of the scheduler's if it is left out.
    const char *const *builders;
    const cap_source *sources;
    size_t source_count;
    // Higher is sooner.
    int32_t priority;
    // An object.
    const cap_json *properties;
    // The changes that led to it, by id.
    const int64_t *changes;
    size_t change_count;
} cap_buildset;

// Keeps this object as the state, instead of the one from before.
void cap_keep(const cap_json *state);
void cap_submit(const cap_buildset *set);
// In milliseconds since 1970; a timer of the same name is replaced.
void cap_set_timer(const char *name, int64_t at);
void cap_clear_timer(const char *name);

// ---- generators ----

// Adds a builder, in the order of the configuration: an object with the arguments of `builder(…)` in configurations, such as `name`,
// `labels` and `env`; `steps` is a list of what `cap_use` makes.
void cap_add_builder(const cap_json *builder);
// Adds a scheduler that belongs to them, which `cap_use` makes.
void cap_add_scheduler(const cap_json *scheduler);
// What `capstan check` is to say where the generator is called.
void cap_remark(const char *text);
// A step or a scheduler: a plugin with its parameters, an object; NULL is none. Its other members are what every step or scheduler
// has, by its name in configurations: `cap_with(use, "halt_on_failure", "false")`.
const cap_json *cap_use(const char *plugin, const cap_json *parameters);
// As JSON, for `cap_with`: what a configuration writes as `secret("name")`; as `prop("name", default = …)`, whose default is JSON or
// NULL; as `interpolate("…{branch}…")`; and so many units of a lock that the configuration has defined, for the list `locks`, where 0
// is all of it.
const char *cap_secret(const char *name);
const char *cap_prop(const char *name, const char *fallback);
const char *cap_interpolate(const char *template);
const char *cap_lock(const char *name, uint32_t amount);

// ---- reporters ----

// A header; the last one of a list has no name.
typedef struct {
    const char *name;
    const char *value;
} cap_header;

typedef struct {
    const char *method, *url;
    const cap_header *headers;
    // The values are names of secrets, which the master fills in.
    const cap_header *secret_headers;
    const char *body;
    // 30 seconds by default.
    uint32_t timeout_ms;
} cap_request;

typedef struct {
    uint16_t status;
    const char *body;
} cap_response;

// Sends one request. A redirection is an answer like any other.
bool cap_fetch(const cap_request *request, cap_response *response);
// Whether the status is 200 to 299. If not, fails: transiently with what a server may get over, else permanently.
bool cap_accepted(const cap_response *response);
// Appends one line to a file under the farm's folder.
bool cap_append_line(const char *path, const char *line);
// What was kept under a key; NULL if nothing was.
bool cap_recall(const char *key, const char **value);
bool cap_remember(const char *key, const char *value);
bool cap_forget(const char *key);

// A mail; each list of addresses ends with NULL.
typedef struct {
    const char *const *to, *const *cc, *const *bcc;
    const char *subject, *text, *html;
    const cap_header *headers;
} cap_mail;

bool cap_send(const cap_mail *mail);

#endif
