// A generator that makes a builder for each package.

#include <capstan.h>

void plugin_check(const cap_json *params) {
    if (cap_count(cap_get(params, "packages")) == 0) {
        cap_problem("packages", "expected at least one package, found none");
    }
}

static const cap_json *make(const char *target, const char *package) {
    const char *command = cap_join("[\"make\", ", cap_quote(target), ", ", cap_quote(package), "]", NULL);
    const cap_json *step = cap_use("shell", cap_with(NULL, "command", command));
    return cap_with(step, "name", cap_quote(target));
}

static const cap_json *steps(const cap_json *package) {
    const char *name = cap_text(package, "name", "");
    const cap_json *steps = cap_append(NULL, cap_write(make("build", name)));
    if (!cap_bool(package, "tests", true)) return steps;
    return cap_append(steps, cap_write(cap_with(make("check", name), "halt_on_failure", "false")));
}

void generator_generate(const cap_json *params) {
    const cap_json *packages = cap_get(params, "packages"), *labels = cap_get(params, "labels");
    for (size_t place = 0; place < cap_count(packages); place++) {
        const cap_json *package = cap_at(packages, place);
        const char *name = cap_join("package ", cap_text(package, "name", ""), NULL);
        const cap_json *builder = cap_with(NULL, "name", cap_quote(name));
        if (labels) builder = cap_with(builder, "labels", cap_write(labels));
        cap_add_builder(cap_with(builder, "steps", cap_write(steps(package))));
    }
}
