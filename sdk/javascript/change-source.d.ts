// Change sources: what changed since the last look.

import type { Checks, Exported, Json, Span } from "./shared.js";

export { Response, http } from "./http.js";
export { InvalidParameters, Permanent, Transient, log, span } from "./shared.js";
export type { Json, Problem, Span } from "./shared.js";

/** A change as it was found. The same key twice is the same change. */
export interface NewChange {
    dedupKey: string;
    repository: string;
    revision: string;
    author?: string;
    comments?: string;
    branch?: string | null;
    files?: string[];
    when?: number;
    codebase?: string;
    project?: string;
    category?: string | null;
    properties?: Record<string, Json>;
}

/** What a look brought: how far it went, what it found (oldest first), when to look again (in a minute by default). */
export interface Poll<C> {
    cursor: C;
    changes?: NewChange[];
    pollAgain?: Span;
}

/** A change source: from a cursor to the next cursor and the changes between, which the master stores together. */
export interface ChangeSource<P, C> extends Checks<P> {
    /** Looks for changes. The cursor is null the first time, then what the last answer said. */
    poll(params: P, cursor: C | null): Poll<C>;
    /** The cursor that the version `from` of this plugin left, in the form of this version; as it is by default. */
    migrate?(params: P, from: string, cursor: any): C;
}

/** `export const { changeSource, migration } = defineChangeSource({ … })`. */
export function defineChangeSource<P = any, C = any>(
    plugin: ChangeSource<P, C>,
): { changeSource: Exported; migration: Exported };

/** A commit of a Git repository. */
export interface Commit {
    revision: string;
    parents: string[];
    author: string;
    whenMs: number;
    comments: string;
    files: string[];
}

/** Brings the master's mirror up to date and answers its branches and tags: full name to revision. */
export function gitFetch(repository: string): Record<string, string>;
/** The commits that `until` reaches and none of `since` does, oldest first; the newest `limit` (100) of them. */
export function gitCommits(repository: string, since: string[], until: string, limit?: number): Commit[];
