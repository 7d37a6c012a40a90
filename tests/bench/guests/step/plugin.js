// The step that the bench runs: nothing, some host calls, or one command.

import { defineStep, now, runCommand } from "./capstan-sdk/step.js";

export const step = defineStep({
    run(params) {
        for (let call = 0; call < (params.now ?? 0); call++) now();
        if (params.wait) return runCommand(["true"]);
    },
});
