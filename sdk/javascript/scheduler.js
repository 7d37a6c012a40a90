// Schedulers: from changes and times to builds.

import { bytes, checked, guarded, properties, remembered, setClock, stamp } from "./shared.js";

export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";

export function defineScheduler(plugin) {
    const handle = (config, raw, now, event) =>
        guarded(() => {
            setClock(() => now);
            const state = remembered("state", raw, {});
            const answer = plugin.handle(JSON.parse(config), state, now, eventOf(event)) ?? {};
            return {
                state: bytes(state),
                submit: (answer.submit ?? []).map(buildset),
                setTimers: Object.entries(answer.setTimers ?? {}).map(([name, at]) => ({ name, at })),
                clearTimers: answer.clearTimers ?? [],
            };
        });
    return { scheduler: { check: checked(plugin), handle }, migration: migration(plugin) };
}

function eventOf({ tag, val }) {
    switch (tag) {
        case "change": {
            const values = val.properties.map((p) => [p.name, JSON.parse(p.value)]);
            return { kind: tag, change: { ...val, properties: Object.fromEntries(values) } };
        }
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
