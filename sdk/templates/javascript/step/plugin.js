// A step that runs make.

import { defineStep, runCommand } from "./capstan-sdk/step.js";

export const step = defineStep({
    check({ target }) {
        if (!target.startsWith("-")) return [];
        return [{ path: "target", message: `expected a target, found an option: ${target}` }];
    },

    run({ target, jobs = 1 }) {
        return runCommand(["make", `-j${jobs}`, target]);
    },
});
