// The scheduler that the bench calls: a build with each change.

import { defineScheduler } from "./capstan-sdk/scheduler.js";

export const { scheduler, migration } = defineScheduler({
    handle(params, state, now, event) {
        if (event.kind === "change") return { submit: [{ reason: "a change", changes: [event.change.id] }] };
    },
});
