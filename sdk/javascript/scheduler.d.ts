// Schedulers: from changes and times to builds.

import type { Checks, Exported, Json, Outcome, SourceStamp } from "./shared.js";

export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";
export type { Json, Problem, SourceStamp, Span } from "./shared.js";

/** A change that a change source reported. */
export interface Change {
    id: number;
    source: string;
    codebase: string;
    repository: string;
    project: string;
    branch: string | null;
    revision: string;
    author: string;
    comments: string;
    files: string[];
    category: string | null;
    when: number;
    properties: Record<string, Json>;
}

/** A build that has ended. */
export interface Finished {
    builder: string;
    number: number;
    outcome: Outcome;
    sources: SourceStamp[];
}

/** `started`: it was configured, or the master was started. `timer`: one is due, by its name. */
export type Event =
    | { kind: "started" }
    | { kind: "change"; change: Change }
    | { kind: "timer"; timer: string }
    | { kind: "finished"; build: Finished };

/** A request for one build on each of some builders; no list means all of the scheduler's. */
export interface Buildset {
    reason: string;
    builders?: string[];
    sources?: Partial<SourceStamp>[];
    /** Higher is sooner; 0 is usual. */
    priority?: number;
    properties?: Record<string, Json>;
    /** The changes that led to it, by id. */
    changes?: number[];
}

/** What an event leads to. */
export interface Answer {
    submit?: Buildset[];
    /** By name, when they are due, in milliseconds since 1970. One of the same name is replaced. */
    setTimers?: Record<string, number>;
    clearTimers?: string[];
}

/** What a scheduler is asked for: by a step of another build ("trigger"), by a person with a form ("force") or with a patch ("try"). */
export interface Call {
    kind: "trigger" | "force" | "try";
    /** Their name, for people. */
    owner?: string;
    /** Why, for people. */
    reason?: string;
    /** Some of the scheduler's builders; none is all. */
    builders?: string[];
    sources: SourceStamp[];
    properties: Record<string, Json>;
    /** What was filled in, by field. */
    values: Record<string, Json>;
    /** What is not committed. */
    patch?: { digest: string; bytes: number; level: number; subdirectory: string; codebase: string; author: string; comment: string };
    /** Higher is sooner; none is as the scheduler likes. */
    priority?: number;
}

/** A buildset of which all requests have ended. */
export interface CompletedBuildset {
    id: number;
    scheduler: string;
    /** The worst of its requests. */
    outcome: Outcome;
    reason: string;
    /** What it was asked to check out. */
    sources: SourceStamp[];
    properties: Record<string, Json>;
    changes: number[];
    /** Oldest first; none for a request that was cancelled before it became a build. */
    builds: Finished[];
}

/** What to ask a person for: `fields` have at least `name`, `type` and `label`. */
export interface Form {
    kind: "trigger" | "force" | "try";
    fields: { name: string; type: string; label: string; [more: string]: Json }[];
    [more: string]: any;
}

/** A scheduler. It has no side effects: the master stores state and answer together, and repeats a call that was cut off. */
export interface Scheduler<P, S> extends Checks<P> {
    /** Handles one event. The state is an empty object at first; change it in place, with what JSON can hold. */
    handle(params: P, state: S, now: number, event: Event): Answer | void;
    /** With `exports = ["calls"]` in plugin.toml: what to ask a person for. */
    describe?(params: P): Form;
    /** With `exports = ["calls"]`: handles one call. `InvalidParameters` says what is wrong in it, by its path there: `values.branch`. */
    call?(params: P, state: S, now: number, call: Call): Answer | void;
    /** With `exports = ["completions"]`: handles one complete buildset of the schedulers that it follows, which are those that its
     * parameters name whose schema has the format `scheduler`. */
    completed?(params: P, state: S, now: number, buildset: CompletedBuildset): Answer | void;
    /** The state that the version `from` of this plugin left, in the form of this version; as it is by default. */
    migrate?(params: P, from: string, state: any): S;
}

/** `export const { scheduler, migration } = defineScheduler({ … })`, with `calls` and `completions` as plugin.toml has them. */
export function defineScheduler<P = any, S = any>(
    plugin: Scheduler<P, S>,
): { scheduler: Exported; migration: Exported; calls: Exported; completions: Exported };
