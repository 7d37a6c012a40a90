// What every kind of plugin shares.

/** How a step or a build ended. */
export type Outcome = "success" | "warnings" | "failure" | "skipped" | "exception" | "retry" | "cancelled";
export const Outcome: {
    readonly SUCCESS: "success";
    readonly WARNINGS: "warnings";
    readonly FAILURE: "failure";
    readonly SKIPPED: "skipped";
    readonly EXCEPTION: "exception";
    readonly RETRY: "retry";
    readonly CANCELLED: "cancelled";
};

/** Anything that JSON can hold. */
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** A number of seconds, or a text such as "30s", "20min", "12h". */
export type Span = number | string;

/** A fault in the parameters, addressed by its path in them: `command`, `env.PATH`. */
export interface Problem {
    path: string;
    message: string;
}

/** What to check out for one codebase. No branch is the default branch, no revision the newest. */
export interface SourceStamp {
    codebase: string;
    repository: string;
    project: string;
    branch: string | null;
    revision: string | null;
}

/** The parameters are wrong; people see each problem at its line of the configuration. */
export class InvalidParameters extends Error {
    constructor(...problems: Problem[]);
    readonly problems: Problem[];
}

/** It may work later: the master tries again, with growing pauses. */
export class Transient extends Error {}

/** It will not work until somebody does something. Any other error that a plugin throws becomes one of these, and its stack goes
 * to the host's log. */
export class Permanent extends Error {}

/** The host's log, for the plugin's author and the operator; `console` writes there too. */
export const log: Readonly<Record<"debug" | "info" | "warn" | "error", (...words: unknown[]) => void>>;

/** A duration in milliseconds. */
export function span(given: Span): number;

/** What all kinds may have. */
export interface Checks<P> {
    /** Checks what the schema of the parameters cannot say; nothing or an empty list is good. */
    check?(params: P): Problem[] | void;
}

/** What a component exports. */
export type Exported = object;
