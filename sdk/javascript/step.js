// Steps: what a builder does, with commands on its worker, and the build that the step belongs to.

import artefacts from "capstan:plugin/artefacts";
import host from "capstan:plugin/build";
import clock from "capstan:plugin/clock";
import commands from "capstan:plugin/commands";
import ending from "capstan:plugin/ending";
import entropy from "capstan:plugin/entropy";
import timers from "capstan:plugin/timers";
import schedulers from "capstan:plugin/triggers";
import { Outcome, Permanent, checked, guarded, refusal, setClock, span, text, utf8 } from "./shared.js";

export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";

export class Stop extends Error {
    constructor(outcome, summary = "") {
        super(summary);
        this.name = "Stop";
        this.outcome = outcome;
    }
}

export function defineStep(plugin) {
    return {
        check: checked(plugin),
        run: (config) =>
            guarded(() => {
                setClock(now);
                seedRandom(seed());
                return run(plugin, JSON.parse(config));
            }),
    };
}

function run(plugin, params) {
    try {
        const ended = plugin.run(params);
        if (!(ended instanceof Done)) return ended ?? Outcome.SUCCESS;
        if (!ended.ok) setSummary(ended.summary);
        return ended.outcome;
    } catch (error) {
        if (!(error instanceof Stop)) throw error;
        if (error.message) setSummary(error.message);
        return error.outcome;
    }
}

export class Done {
    constructor({ exit, durationMs, stdoutBytes, stderrBytes, stdout }) {
        this.kind = exit.tag;
        this.code = typeof exit.val === "number" ? exit.val : null;
        this.reason = typeof exit.val === "string" ? exit.val : "";
        this.durationMs = durationMs;
        this.stdoutBytes = stdoutBytes;
        this.stderrBytes = stderrBytes;
        this.stdout = stdout;
    }

    get ok() {
        return this.kind === "code" && this.code === 0;
    }

    get outcome() {
        if (this.ok) return Outcome.SUCCESS;
        return this.kind === "killed" ? Outcome.EXCEPTION : Outcome.FAILURE;
    }

    get summary() {
        switch (this.kind) {
            case "code":
                return this.code === 0 ? "done" : `exit code ${this.code}`;
            case "signal":
                return `ended by signal ${this.code}`;
            case "idle-timeout":
                return "timed out: no output";
            case "total-timeout":
                return "timed out: ran too long";
            case "killed":
                return `stopped: ${this.reason}`;
            default:
                return `not started: ${this.reason}`;
        }
    }

    get text() {
        return text(this.stdout).trim();
    }

    check() {
        if (this.ok) return this;
        throw new Stop(this.outcome, this.summary);
    }
}

export class Command {
    constructor(handle) {
        this.handle = handle;
    }

    get id() {
        return this.handle.id();
    }

    wait() {
        return new Done(asked(() => this.handle.wait()));
    }

    kill(reason) {
        this.handle.kill(reason);
    }
}

export function runCommand(command, options = {}) {
    return new Done(asked(() => commands.run(specOf(command, options))));
}

export function startCommand(command, options = {}) {
    return new Command(asked(() => commands.start(specOf(command, options))));
}

export function waitAny(started) {
    if (started.length === 0) throw new TypeError("expected at least one command to wait for, found none");
    return started[commands.waitAny(started.map((command) => command.handle))];
}

const OPTIONS = ["workdir", "env", "secrets", "timeout", "maxTime", "termGrace", "log", "capture"];

function specOf(command, options) {
    const unknown = Object.keys(options).filter((name) => !OPTIONS.includes(name));
    if (unknown.length > 0) {
        throw new TypeError(`expected an option of a command (${OPTIONS.join(", ")}), found ${unknown.join(", ")}`);
    }
    const spec = typeof command === "string" ? commands.Spec.shell(command) : commands.Spec.argv(command);
    for (const [name, value] of Object.entries(options.env ?? {})) {
        if (value === null) spec.unsetEnv(name);
        else spec.setEnv(name, value);
    }
    for (const [name, secret] of Object.entries(options.secrets ?? {})) spec.setSecretEnv(name, secret);
    if (options.workdir !== undefined) spec.setWorkdir(options.workdir);
    if (options.log !== undefined) spec.setLog(options.log);
    if (options.timeout !== undefined) spec.setIdleTimeout(span(options.timeout));
    if (options.maxTime !== undefined) spec.setTotalTimeout(span(options.maxTime));
    if (options.termGrace !== undefined) spec.setTermGrace(span(options.termGrace));
    if (options.capture) spec.setCaptureStdout(options.capture);
    return spec;
}

// Asks for something about a command; what is refused ends the step as it should.
function asked(call) {
    try {
        return call();
    } catch (error) {
        const { tag, val } = refusal(error);
        switch (tag) {
            case "cancelled":
                throw new Stop(Outcome.CANCELLED, `stopped: ${val}`);
            case "worker-lost":
                throw new Stop(Outcome.RETRY, `worker lost: ${val}`);
            case "invalid":
            case "denied":
                throw new Permanent(val);
            default:
                throw error;
        }
    }
}

// A file of the worker, stored at the master as an artefact of the build.
export function publish(path, name) {
    return stored(() => artefacts.publish(path, name));
}

// What the step itself made: a text, or bytes.
export function writeArtefact(name, content) {
    return stored(() => artefacts.write(name, typeof content === "string" ? utf8(content) : content));
}

function stored(call) {
    try {
        const { name, size, sha256 } = call();
        return { name, size: Number(size), sha256 };
    } catch (error) {
        const { tag, val } = refusal(error);
        switch (tag) {
            case "missing":
            case "too-large":
                throw new Stop(Outcome.FAILURE, val);
            case "cancelled":
                throw new Stop(Outcome.CANCELLED, `stopped: ${val}`);
            case "worker-lost":
                throw new Stop(Outcome.RETRY, `worker lost: ${val}`);
            case "unavailable":
                throw new Stop(Outcome.EXCEPTION, val);
            case "invalid":
            case "denied":
                throw new Permanent(val);
            default:
                throw error;
        }
    }
}

// Builds that a step asks the farm's schedulers for, and waits for.
export const triggers = Object.freeze({
    call: (scheduler, call) => triggered(() => [...schedulers.call(scheduler, JSON.stringify(call))].map(Number)),
    wait: (buildsets, giveBack = false) => triggered(() => schedulers.wait(buildsets, giveBack).map(completed)),
});

// The scheduler is unknown, takes no calls or is disabled, or this is wrong in the call.
export class Refused extends Permanent {
    constructor(problems) {
        super(problems.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join("; "));
        this.name = "Refused";
        this.problems = problems;
    }
}

const completed = ({ buildset, scheduler, outcome, builds }) => ({
    buildset: Number(buildset),
    scheduler,
    outcome,
    builds: builds.map(({ builder, number, outcome }) => ({ builder, number: Number(number), outcome })),
});

// What is wrong in a call, and a right that is missing, are faults of the configuration.
function triggered(call) {
    try {
        return call();
    } catch (error) {
        const { tag, val } = refusal(error);
        switch (tag) {
            case "refused":
                throw new Refused(val);
            case "cancelled":
                throw new Stop(Outcome.CANCELLED, `stopped: ${val}`);
            case "deadlock":
                throw new Stop(Outcome.EXCEPTION, val);
            case "denied":
                throw new Permanent(val);
            default:
                throw error;
        }
    }
}

export const stepName = () => host.stepName();
export const sources = () => host.sources();
export const setSummary = (words) => host.setSummary(words);
export const endBuild = (outcome, reason = "") => ending.endBuild(outcome, reason);
export const addLink = (label, url) => host.addLink(label, url);
export const writeLog = (name, words) => host.writeLog(name, words);
export const now = () => clock.now();
export const seed = () => entropy.seed();
export const sleep = (duration) => timers.sleepMs(span(duration));

export function getProperty(name, fallback = null) {
    const found = host.getProperty(name);
    return found ? JSON.parse(found.value) : fallback;
}

export function setProperty(name, value) {
    try {
        host.setProperty(name, JSON.stringify(value) ?? "null");
    } catch (error) {
        throw new Permanent(String(refusal(error)));
    }
}

// `Math.random`, from the step's seed: the same on every replay. The generator is SplitMix32.
function seedRandom(from) {
    let state = Math.floor(from / 2 ** 21) >>> 0;
    Math.random = () => {
        state = (state + 0x9e3779b9) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
        mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
        return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
    };
}
