// A scheduler that builds a branch once it has been quiet for a while.

#include <capstan.h>
#include <string.h>

static void remember(const cap_json *state, const cap_change *change) {
    const cap_json *changes = cap_append(cap_get(state, "changes"), cap_decimal(change->id));
    state = cap_with(state, "repository", cap_quote(change->repository));
    state = cap_with(state, "revision", cap_quote(change->revision));
    cap_keep(cap_with(state, "changes", cap_write(changes)));
}

static void build(const cap_json *state, const char *branch) {
    enum { MOST = 1000 };
    int64_t ids[MOST];
    const cap_json *changes = cap_get(state, "changes");
    size_t count = cap_count(changes) < MOST ? cap_count(changes) : MOST;
    for (size_t place = 0; place < count; place++) ids[place] = (int64_t)cap_as_number(cap_at(changes, place), 0);
    cap_source source = {
        .repository = cap_text(state, "repository", ""),
        .branch = branch,
        .revision = cap_text(state, "revision", NULL),
    };
    cap_submit(&(cap_buildset){
        .reason = "the branch is quiet",
        .sources = &source,
        .source_count = 1,
        .changes = ids,
        .change_count = count,
    });
    cap_keep(cap_without(state, "changes"));
}

void scheduler_handle(const cap_json *params, const cap_json *state, int64_t now, const cap_event *event) {
    const char *branch = cap_text(params, "branch", "main");
    if (event->kind == CAP_CHANGE && event->change->branch && strcmp(event->change->branch, branch) == 0) {
        remember(state, event->change);
        cap_set_timer("quiet", now + (int64_t)cap_span(params, "quiet", 30000));
    }
    if (event->kind == CAP_TIMER) build(state, branch);
}
