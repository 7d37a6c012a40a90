// Does what its script says; what it was answered becomes the property `trace`.

import * as sdk from "./capstan-sdk/step.js";

export const step = sdk.defineStep({
    check({ script, env = {}, note = "" }) {
        const problems = [];
        if (!Array.isArray(script)) problems.push({ path: "script", message: "expected a list" });
        for (const [name, value] of Object.entries(env)) {
            if (typeof value !== "string") problems.push({ path: `env.${name}`, message: "expected a text" });
        }
        if (note === "bad") problems.push({ path: "note", message: "expected a good note, found bad" });
        for (const name of Object.keys(env)) {
            if (name.includes(" ")) problems.push({ path: `env.${name}`, message: "expected a name without blanks" });
        }
        return problems;
    },

    run({ script }) {
        const player = { started: [], asked: [] };
        const trace = script.map((op) => `${op.do}: ${play(op, player) ?? ""}`);
        sdk.setProperty("trace", trace);
        return sdk.Outcome.WARNINGS;
    },
});

function play(op, { started, asked }) {
    switch (op.do) {
        case "run":
            return said(sdk.runCommand(op.shell ?? op.argv, options(op)));
        case "check":
            return said(sdk.runCommand(op.shell ?? op.argv).check());
        case "start":
            started.push(sdk.startCommand(op.shell ?? op.argv, options(op)));
            return;
        case "wait-all": {
            const order = [];
            const left = [...started];
            while (left.length > 0) {
                const first = sdk.waitAny(left);
                order.push(`${started.indexOf(first)} ${said(first.wait())}`);
                left.splice(left.indexOf(first), 1);
            }
            return order.join(", ");
        }
        case "kill":
            return started[op.which].kill(op.text);
        case "sleep":
            return sdk.sleep(op.span);
        case "now":
            return sdk.now();
        case "seed":
            return sdk.seed();
        case "name":
            return sdk.stepName();
        case "sources":
            return sdk.sources().map((s) => `${s.repository} ${s.branch ?? "-"} ${s.revision ?? "-"}`).join(", ");
        case "get":
            return JSON.stringify(sdk.getProperty(op.name));
        case "set":
            return sdk.setProperty(op.name, op.value);
        case "summary":
            return sdk.setSummary(op.text);
        case "link":
            return sdk.addLink(op.text, op.url);
        case "text":
            return sdk.writeLog(op.log, op.text);
        case "publish":
            return stored(sdk.publish(op.text, op.name));
        case "artefact":
            return stored(sdk.writeArtefact(op.name, op.text));
        case "end-build":
            return sdk.endBuild(op.outcome, op.text);
        case "trigger": {
            const made = sdk.triggers.call(op.name, op.value);
            asked.push(...made);
            return made.length;
        }
        case "await":
            return sdk.triggers.wait(asked, true).map(completed).join(", ");
        case "build-with":
            return buildWith(op.name);
        case "log":
            return sdk.log.info(op.text);
        case "stop":
            throw new sdk.Stop(op.outcome, op.text);
        case "transient":
            throw new sdk.Transient(op.text);
        case "permanent":
            throw new sdk.Permanent(op.text);
        case "bug":
            throw new RangeError(op.text);
    }
}

function options({ workdir, env, secrets, timeout, max_time, term_grace, log, capture }) {
    return { workdir, env, secrets, timeout, maxTime: max_time, termGrace: term_grace, log, capture };
}

const stored = ({ name, size, sha256 }) => `${name} ${size} ${sha256.slice(0, 8)}`;

// ANCHOR: asks
// Has a scheduler build what this build builds; what does not succeed ends the step.
function buildWith(scheduler) {
    const made = sdk.triggers.call(scheduler, { sources: "own", properties: { channel: "beta" } });
    for (const { outcome, builds } of sdk.triggers.wait(made, true)) {
        for (const build of builds) sdk.writeLog("builds", `${build.builder}/${build.number}: ${build.outcome}\n`);
        if (outcome !== sdk.Outcome.SUCCESS) throw new sdk.Stop(outcome, `${scheduler}: ${outcome}`);
    }
}
// ANCHOR_END: asks

const completed = ({ scheduler, outcome, builds }) =>
    [scheduler, outcome, ...builds.map((build) => `${build.builder}/${build.number} ${build.outcome}`)].join(" ");

const said = (done) => `${done.summary} [${done.text}]`;
