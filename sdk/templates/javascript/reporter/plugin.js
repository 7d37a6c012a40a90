// A reporter that tells a chat when a builder breaks, and when it works again.

import { defineReporter, http } from "./capstan-sdk/reporter.js";

export const reporter = defineReporter({
    deliver({ url, token }, report) {
        if (report.outcome === null || report.outcome === report.previousOutcome) return;
        const text = `${report.builder} #${report.number}: ${report.outcome}`;
        const secretHeaders = token ? { Authorization: token } : {};
        http("POST", url, { secretHeaders, body: JSON.stringify({ text }) }).check();
    },
});
