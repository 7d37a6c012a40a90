// Makes what its parameters say, of every form that there is.

#include <capstan.h>
#include <string.h>

void plugin_check(const cap_json *params) {
    const cap_json *words = cap_get(params, "words"), *fail = cap_get(params, "fail");
    if (cap_kind_of(words) != CAP_LIST) cap_problem("words", "expected a list");
    else if (!cap_count(words)) cap_problem("words", "expected a word, found none: ü");
    if (fail && cap_kind_of(fail) != CAP_TEXT) cap_problem("fail", "expected a text");
}

static const cap_json *shell(const char *word) {
    const char *command = cap_join("[\"make\",", cap_prop("target", NULL), ",", cap_prop("rest", "\"all\""), "]", NULL);
    const cap_json *env = cap_with(NULL, "TOKEN", cap_secret("deploy"));
    env = cap_with(env, "WHERE", cap_interpolate("{branch}/ü"));
    const cap_json *parameters = cap_with(cap_with(NULL, "command", command), "env", cap_write(env));
    const cap_json *step = cap_with(cap_use("shell", parameters), "name", cap_quote(word));
    return cap_with(step, "halt_on_failure", "false");
}

void generator_generate(const cap_json *params) {
    const cap_json *words = cap_get(params, "words"), *names = NULL;
    const char *fail = cap_text(params, "fail", "");
    if (strcmp(fail, "permanent") == 0) cap_permanent("not here: ü");
    if (strcmp(fail, "bug") == 0) cap_panic("no luck");
    for (size_t place = 0; place < cap_count(words); place++) {
        const char *word = cap_as_text(cap_at(words, place), "");
        const char *name = cap_quote(cap_join("builder ", word, NULL));
        const cap_json *steps = cap_append(cap_append(NULL, cap_write(shell(word))), cap_write(cap_use("git", NULL)));
        const cap_json *builder = cap_with(cap_with(NULL, "name", name), "labels", "[\"linux\"]");
        builder = cap_with(builder, "locks", cap_join("[", cap_lock("database", 1), "]", NULL));
        cap_add_builder(cap_with(builder, "steps", cap_write(steps)));
        names = cap_append(names, name);
    }
    const cap_json *scheduler = cap_with(cap_use("triggerable", NULL), "name", "\"all\"");
    cap_add_scheduler(cap_with(scheduler, "builders", cap_write(names)));
    cap_remark(cap_join("made ", cap_decimal((int64_t)cap_count(words)), NULL));
}
