// Generators: builders out of parameters, when a configuration is loaded.

import { InvalidParameters, guarded } from "./shared.js";

export { InvalidParameters, Permanent, Transient, log, span } from "./shared.js";

export function defineGenerator(plugin) {
    return {
        generate: (parameters) =>
            guarded(() => {
                const params = JSON.parse(parameters);
                const problems = plugin.check?.(params) ?? [];
                if (problems.length > 0) throw new InvalidParameters(...problems);
                const made = plugin.generate(params);
                const text = JSON.stringify(Array.isArray(made) ? { builders: made } : made);
                if (text === undefined) throw new TypeError("expected builders, found none");
                return text;
            }),
    };
}

export const secret = (name) => ({ $secret: name });

export const prop = (name, fallback) => (fallback === undefined ? { $prop: name } : { $prop: name, default: fallback });

export const interpolate = (template, values) =>
    values === undefined ? { $interpolate: template } : { $interpolate: template, values };

export function lock(name, { amount = 1, exclusive = false } = {}) {
    if (exclusive) return { $lock: name, exclusive };
    return amount === 1 ? { $lock: name } : { $lock: name, amount };
}
