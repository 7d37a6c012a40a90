// Delivers a report to where its parameters say.

import { appendLine, defineReporter, forget, http, recall, remember, sendMail } from "./capstan-sdk/reporter.js";

export const reporter = defineReporter({
    check({ url }) {
        if (typeof url !== "string") return [{ path: "url", message: "expected a text" }];
        return url.startsWith("https://") ? [] : [{ path: "url", message: "expected https://" }];
    },

    deliver({ url, token, file, count, mail, bug }, report) {
        if (bug) throw new RangeError(bug);
        if (file) appendLine(file, facts(report));
        if (count) {
            const times = recall(count, 0) + 1;
            remember(count, times);
            if (times === 3) forget(count);
        }
        if (mail) {
            const headers = { "X-Number": String(report.number) };
            sendMail({ to: mail, subject: `${report.builder} ü`, text: "plain", headers });
        }
        const headers = { "Content-Type": "application/json" };
        const secretHeaders = token ? { Authorization: token } : {};
        http("POST", url, { headers, secretHeaders, body: report.toJson(), timeout: "2s" }).check();
    },
});

function facts(report) {
    const steps = report.steps.map((step) => `${step.name} ${step.outcome ?? "-"} ${step.summary}`);
    const { deliveryId, phase, builder, number, url, worker, reason, outcome, previousOutcome, summary } = report;
    const words = [deliveryId, phase, builder, number, url, worker, reason, outcome, previousOutcome, summary];
    const sources = report.sources.map((source) => source.revision);
    return JSON.stringify([...words, sources, report.properties.branch, steps, report.started, report.finished]);
}
