// Reporters: telling people and programs how builds go.

import type { Checks, Exported, Json, Outcome, SourceStamp } from "./shared.js";

export { Response, http } from "./http.js";
export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";
export type { Json, Problem, SourceStamp, Span } from "./shared.js";

/** How one step of a build went; no outcome before its end. */
export interface StepResult {
    name: string;
    outcome: Outcome | null;
    summary: string;
}

/** One moment of one build. */
export interface Report {
    /** The same on every attempt to deliver this report. */
    readonly deliveryId: string;
    readonly phase: "started" | "finished";
    readonly builder: string;
    /** The build's number within its builder. */
    readonly number: number;
    /** The build's page. */
    readonly url: string;
    readonly worker: string;
    /** Why the build was asked for. */
    readonly reason: string;
    /** null until it has ended. */
    readonly outcome: Outcome | null;
    /** How the builder's build before this one ended. */
    readonly previousOutcome: Outcome | null;
    readonly summary: string;
    readonly sources: SourceStamp[];
    readonly properties: Record<string, Json>;
    readonly steps: StepResult[];
    /** In milliseconds since 1970. */
    readonly started: number;
    readonly finished: number | null;
    /** The whole report as one JSON object. */
    toJson(): string;
}

/** A reporter. */
export interface Reporter<P> extends Checks<P> {
    /** Delivers one report. A receiver may see it more than once, always with the same delivery id. */
    deliver(params: P, report: Report): void;
}

/** `export const reporter = defineReporter({ … })`. */
export function defineReporter<P = any>(plugin: Reporter<P>): Exported;

/** Appends one line to a file under the farm's folder and syncs it. */
export function appendLine(path: string, line: string): void;
/** What `remember` kept under that key: words joined by `/`. Each reporter of the configuration has its own. What is no JSON, as a
 * version in another language may have left, is answered as text. */
export function recall<T = Json>(key: string, fallback?: T): T | null;
/** Keeps a value, durably: anything that JSON can hold in 65536 bytes, under at most 256 keys. */
export function remember(key: string, value: Json): void;
/** Drops a key. */
export function forget(key: string): void;

/** Sends one mail through the operator's server, under the operator's address. */
export function sendMail(mail: {
    to: string[];
    subject: string;
    text?: string;
    html?: string;
    cc?: string[];
    bcc?: string[];
    headers?: Record<string, string>;
    attachments?: { name: string; content: Uint8Array; mediaType?: string }[];
}): void;
