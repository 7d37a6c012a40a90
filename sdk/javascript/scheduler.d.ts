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

/** A scheduler. It has no side effects: the master stores state and answer together, and repeats a call that was cut off. */
export interface Scheduler<P, S> extends Checks<P> {
    /** Handles one event. The state is an empty object at first; change it in place, with what JSON can hold. */
    handle(params: P, state: S, now: number, event: Event): Answer | void;
    /** The state that the version `from` of this plugin left, in the form of this version; as it is by default. */
    migrate?(params: P, from: string, state: any): S;
}

/** `export const { scheduler, migration } = defineScheduler({ … })`. */
export function defineScheduler<P = any, S = any>(
    plugin: Scheduler<P, S>,
): { scheduler: Exported; migration: Exported };
