// What every kind of plugin shares: outcomes, errors, durations, diagnostics. The kinds import it, and pass it on.

import host from "capstan:plugin/log";

export const Outcome = Object.freeze({
    SUCCESS: "success",
    WARNINGS: "warnings",
    FAILURE: "failure",
    SKIPPED: "skipped",
    EXCEPTION: "exception",
    RETRY: "retry",
    CANCELLED: "cancelled",
});

export class InvalidParameters extends Error {
    constructor(...problems) {
        super(problems.map(({ path, message }) => (path ? `${path}: ${message}` : message)).join("; "));
        this.name = "InvalidParameters";
        this.problems = problems;
    }
}

export class Transient extends Error {
    constructor(message) {
        super(message);
        this.name = "Transient";
    }
}

export class Permanent extends Error {
    constructor(message) {
        super(message);
        this.name = "Permanent";
    }
}

// Line by line: what breaks lines is not shown otherwise.
const write = (level) => (...words) =>
    words.map(shown).join(" ").split("\n").forEach((line) => host.write(level, line));

export const log = Object.freeze({
    debug: write("debug"),
    info: write("info"),
    warn: write("warn"),
    error: write("error"),
});

globalThis.console = { ...log, log: log.info, trace: log.debug };

function shown(word) {
    if (typeof word === "string") return word;
    if (word instanceof Error) return trace(word);
    return JSON.stringify(word) ?? String(word);
}

function trace(error) {
    return `${error.name}: ${error.message}\n${error.stack ?? ""}`.trimEnd();
}

const UNITS = { ms: 1, s: 1000, min: 60_000, h: 3_600_000, d: 86_400_000 };

export function span(given) {
    if (typeof given === "number" && given >= 0 && given < 9e12) return Math.round(given * 1000);
    const [, number, unit] = /^\s*([0-9]+) ?([a-z]+)\s*$/.exec(typeof given === "string" ? given : "") ?? [];
    if (unit in UNITS) return Number(number) * UNITS[unit];
    const found = JSON.stringify(given);
    throw new TypeError(`expected a duration (a number of seconds, or a text such as "30s" or "20min"), found ${found}`);
}

// Calls it; what it throws becomes one of the errors that the master knows.
export function guarded(call) {
    try {
        return call();
    } catch (error) {
        if (error instanceof InvalidParameters) throw { tag: "invalid-config", val: error.problems };
        if (error instanceof Transient) throw { tag: "transient", val: error.message };
        if (error instanceof Permanent) throw { tag: "permanent", val: error.message };
        if (!(error instanceof Error)) error = new Error(shown(error));
        log.error(trace(error));
        throw { tag: "permanent", val: `${error.name}: ${error.message}` };
    }
}

// The function `check` of every interface.
export function checked(plugin) {
    return (config) =>
        guarded(() => {
            const problems = plugin.check?.(JSON.parse(config)) ?? [];
            if (problems.length > 0) throw new InvalidParameters(...problems);
        });
}

// A clock for `Date`: the component's own would stop the plugin.
export function setClock(now) {
    globalThis.Date = class extends OwnDate {
        constructor(...given) {
            super(...(given.length > 0 ? given : [now()]));
        }
        static now() {
            return now();
        }
    };
}

const OwnDate = Date;

setClock(() => {
    throw new Error("expected a time from the master; plugins of this kind have no clock");
});

export const stamp = (given) => ({
    codebase: given.codebase ?? "",
    repository: given.repository ?? "",
    project: given.project ?? "",
    branch: given.branch ?? null,
    revision: given.revision ?? null,
});

// Properties for the master, which knows where they come from.
export const properties = (values) =>
    Object.entries(values ?? {}).map(([name, value]) => ({ name, value: JSON.stringify(value), source: "" }));

export const bytes = (value) => utf8(JSON.stringify(value));

export function remembered(what, raw, first) {
    if (raw.length === 0) return first;
    try {
        return JSON.parse(text(raw));
    } catch (error) {
        throw new Permanent(`expected a ${what} as this version of the plugin writes it: ${error.message}`);
    }
}

// What the master answered instead of doing it: a case and its text.
export const refusal = (error) => error?.payload ?? error;

// QuickJS has neither TextEncoder nor TextDecoder.
export function utf8(words) {
    return Uint8Array.from(unescape(encodeURIComponent(words.toWellFormed())), (letter) => letter.charCodeAt(0));
}

// The length of a sequence by its first byte, and the least code that needs it. What is malformed becomes U+FFFD.
function sequence(first) {
    if (first < 0x80) return [1, 0];
    if (first >= 0xc2 && first < 0xe0) return [2, 0x80];
    if (first >= 0xe0 && first < 0xf0) return [3, 0x800];
    if (first >= 0xf0 && first < 0xf5) return [4, 0x10000];
    return [0, 0];
}

export function text(raw) {
    const words = [];
    for (let at = 0; at < raw.length; ) {
        const [length, least] = sequence(raw[at]);
        let code = length === 1 ? raw[at] : raw[at] & (0x7f >> length);
        let read = 1;
        for (; read < length && (raw[at + read] & 0xc0) === 0x80; read++) code = (code << 6) | (raw[at + read] & 0x3f);
        const good = read === length && code >= least && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
        words.push(String.fromCodePoint(good ? code : 0xfffd));
        at += read;
    }
    return words.join("");
}
