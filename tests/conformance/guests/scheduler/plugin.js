// Builds a branch at every second change, later if it has to; counts what it is told.

import { InvalidParameters, Permanent, defineScheduler } from "./capstan-sdk/scheduler.js";

export const { scheduler, migration, calls, completions } = defineScheduler({
    handle({ branch, quiet = 1000 }, state, now, event) {
        const count = (name) => (state[name] = (state[name] ?? 0) + 1);
        switch (event.kind) {
            case "started":
                count("started");
                return { setTimers: { first: now + quiet } };
            case "change": {
                const { change } = event;
                if (change.comments === "bad") throw new Permanent(`no such change: ${change.revision}`);
                state.waiting = [...(state.waiting ?? []), change.id];
                if (change.branch !== branch || state.waiting.length < 2) return { setTimers: { late: now + quiet } };
                return { submit: [buildset(state, change)], clearTimers: ["late"] };
            }
            case "timer":
                state.timers = [...(state.timers ?? []), event.timer];
                return {};
            case "finished":
                count(event.build.outcome);
                state.builder = `${event.build.builder} ${event.build.number} ${event.build.sources[0].revision}`;
                return;
        }
    },

    // ANCHOR: asked
    describe({ branch }) {
        return { kind: "force", fields: [{ name: "version", type: "string", label: `Ver\u017eion ${branch}` }] };
    },

    call({ quiet = 1000 }, state, now, { values, owner, properties, reason, sources, builders, priority }) {
        const { version } = values;
        if (!version) throw new InvalidParameters({ path: "values.version", message: "expected a version, found none" });
        state.calls = (state.calls ?? 0) + 1;
        return {
            submit: [
                {
                    reason: reason ?? "asked",
                    sources,
                    builders,
                    priority: priority ?? 1,
                    properties: { version, owner: owner ?? null, size: properties.size ?? null },
                },
            ],
            setTimers: { after: now + quiet },
            clearTimers: ["before"],
        };
    },

    completed(params, state, now, { id, scheduler, outcome, reason, sources, properties, changes, builds }) {
        const all = builds.map((b) => `${b.builder} ${b.number} ${b.outcome} ${b.sources[0].revision}`);
        state.seen = `${scheduler} ${id} ${outcome} ${properties.color}: ${all.join(", ")}`;
        if (outcome !== "success") return;
        return { submit: [{ reason: `after ${reason}`, sources, changes }] };
    },
    // ANCHOR_END: asked

    migrate(params, from, state) {
        return { ...state, migrated: from };
    },
});

function buildset(state, change) {
    const changes = state.waiting;
    delete state.waiting;
    return {
        builders: ["hello"],
        sources: [{ repository: change.repository, branch: change.branch, revision: change.revision }],
        priority: 3,
        reason: `${changes.length} changes by ${change.author}`,
        properties: { files: change.files, color: change.properties.color },
        changes,
    };
}
