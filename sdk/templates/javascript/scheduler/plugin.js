// A scheduler that builds a branch once it has been quiet for a while.

import { defineScheduler, span } from "./capstan-sdk/scheduler.js";

export const { scheduler, migration } = defineScheduler({
    handle({ branch = "main", quiet = "30s" }, state, now, event) {
        if (event.kind === "change" && event.change.branch === branch) {
            const { id, repository, revision } = event.change;
            Object.assign(state, { repository, revision });
            state.changes = [...(state.changes ?? []), id];
            return { setTimers: { quiet: now + span(quiet) } };
        }
        if (event.kind === "timer") {
            const { repository, revision, changes } = state;
            delete state.changes;
            return { submit: [{ reason: "the branch is quiet", sources: [{ repository, branch, revision }], changes }] };
        }
    },
});
