// A step that runs make.

#include <capstan.h>

void plugin_check(const cap_json *params) {
    const char *target = cap_text(params, "target", "");
    if (target[0] == '-') cap_problem("target", cap_join("expected a target, found an option: ", target, NULL));
}

cap_outcome step_run(const cap_json *params) {
    const char *jobs = cap_join("-j", cap_decimal((int64_t)cap_number(params, "jobs", 1)), NULL);
    const char *const argv[] = {"make", jobs, cap_text(params, "target", ""), NULL};
    cap_done done;
    if (!cap_run(&(cap_command){.argv = argv}, &done)) return CAP_STOP;
    return cap_outcome_of(&done);
}
