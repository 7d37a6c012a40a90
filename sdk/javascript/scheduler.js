// Schedulers: from changes and times to builds.

import { bytes, checked, guarded, properties, remembered, setClock, stamp } from "./shared.js";

export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";

export function defineScheduler(plugin) {
    // What any function of a scheduler decides.
    const decided = (raw, now, decide) =>
        guarded(() => {
            setClock(() => now);
            const state = remembered("state", raw, {});
            const answer = decide(state) ?? {};
            return {
                state: bytes(state),
                submit: (answer.submit ?? []).map(buildset),
                setTimers: Object.entries(answer.setTimers ?? {}).map(([name, at]) => ({ name, at })),
                clearTimers: answer.clearTimers ?? [],
            };
        });
    const scheduler = {
        check: checked(plugin),
        handle: (config, raw, now, event) =>
            decided(raw, now, (state) => plugin.handle(JSON.parse(config), state, now, eventOf(event))),
    };
    const calls = {
        describe: (config) => guarded(() => JSON.stringify(has(plugin, "describe").describe(JSON.parse(config)))),
        call: (config, raw, now, call) =>
            decided(raw, now, (state) => has(plugin, "call").call(JSON.parse(config), state, now, callOf(call))),
    };
    const completions = {
        completed: (config, raw, now, set) =>
            decided(raw, now, (state) => has(plugin, "completed").completed(JSON.parse(config), state, now, completedOf(set))),
    };
    return { scheduler, migration: migration(plugin), calls, completions };
}

function has(plugin, name) {
    if (!plugin[name]) throw new TypeError(`expected the scheduler to have the function ${name}, as plugin.toml says`);
    return plugin;
}

const callOf = (text) => {
    const given = JSON.parse(text);
    return { ...given, properties: given.properties ?? {}, values: given.values ?? {}, sources: (given.sources ?? []).map(stamp) };
};

const completedOf = (set) => ({ ...set, properties: byName(set.properties), changes: [...set.changes] });

const byName = (given) => Object.fromEntries(given.map((p) => [p.name, JSON.parse(p.value)]));

function eventOf({ tag, val }) {
    switch (tag) {
        case "change":
            return { kind: tag, change: { ...val, properties: byName(val.properties) } };
        case "timer":
            return { kind: tag, timer: val };
        case "finished":
            return { kind: tag, build: val };
        default:
            return { kind: tag };
    }
}

function buildset(given) {
    return {
        builders: given.builders ?? null,
        sources: (given.sources ?? []).map(stamp),
        priority: given.priority ?? 0,
        reason: given.reason,
        properties: properties(given.properties),
        changes: given.changes ?? [],
    };
}

function migration(plugin) {
    return {
        migrate: (config, from, raw) =>
            guarded(() => {
                if (!plugin.migrate) return raw;
                return bytes(plugin.migrate(JSON.parse(config), from, remembered("state", raw, {})));
            }),
    };
}
