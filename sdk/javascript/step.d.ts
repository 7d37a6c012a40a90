// Steps: what a builder does, with commands on its worker, and the build that the step belongs to.

import type { Checks, Exported, Json, Problem, SourceStamp, Span } from "./shared.js";
import { Outcome, Permanent } from "./shared.js";

export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";
export type { Json, Problem, SourceStamp, Span } from "./shared.js";

/** A step. It must be deterministic: after a restart of the master it is run again from its beginning, answered from its
 * journal, and must ask for the same things. `Date` and `Math.random` are the same on every replay. */
export interface Step<P> extends Checks<P> {
    /** Does the step. Nothing is success; a `Done` gives its outcome and, if it did not end well, its summary. */
    run(params: P): Outcome | Done | void;
}

/** `export const step = defineStep({ … })`. */
export function defineStep<P = any>(plugin: Step<P>): Exported;

/** Ends a step at once, with an outcome and a few words for the people who look at it. */
export class Stop extends Error {
    constructor(outcome: Outcome, summary?: string);
    readonly outcome: Outcome;
}

/** How to run a command. */
export interface Options {
    /** Where, relative to the builder's folder; `build` by default. */
    workdir?: string;
    /** Variables; null removes one. `${NAME}` in a value is the worker's own variable. */
    env?: Record<string, string | null>;
    /** Variables by the secret's name; the values are masked in every log. */
    secrets?: Record<string, string>;
    /** How long it may print nothing; 20 minutes by default, 0 is for ever. */
    timeout?: Span;
    /** How long it may take in all; for ever by default. */
    maxTime?: Span;
    /** How long its processes have between being asked to end and being killed; 10 seconds by default. */
    termGrace?: Span;
    /** The log for its output; `stdio` by default. */
    log?: string;
    /** How many bytes of standard output to bring back, at most 65536; none by default. */
    capture?: number;
}

/** How a command ended, once every byte of its output is stored. */
export class Done {
    readonly kind: "code" | "signal" | "idle-timeout" | "total-timeout" | "killed" | "not-started";
    /** The exit code, or the signal's number. */
    readonly code: number | null;
    /** Why it was killed or not started. */
    readonly reason: string;
    readonly durationMs: number;
    readonly stdoutBytes: number;
    readonly stderrBytes: number;
    readonly stdout: Uint8Array;
    /** Whether it ended by itself with code 0. */
    readonly ok: boolean;
    /** The usual outcome of a step that runs just this. */
    readonly outcome: Outcome;
    /** How it ended, in a few words. */
    readonly summary: string;
    /** The captured standard output as text, without the white space around it. */
    readonly text: string;
    /** Itself if it ended well; else ends the step with this command's outcome and summary. */
    check(): this;
}

/** A command that was started. */
export class Command {
    /** The id that makes it run once. */
    readonly id: string;
    /** Waits for its end. */
    wait(): Done;
    /** Stops its process tree; `wait` then answers `killed`. */
    kill(reason: string): void;
}

/** Runs a command on the worker and waits for its end. A text is a line for the worker's shell, a list a program and its
 * arguments. */
export function runCommand(command: string | string[], options?: Options): Done;
/** Starts a command; started commands go on side by side. */
export function startCommand(command: string | string[], options?: Options): Command;
/** Waits until one of the commands has ended, and answers it. */
export function waitAny(started: Command[]): Command;

/** A file as it was stored at the master. */
export interface Artefact {
    readonly name: string;
    readonly size: number;
    /** The digest of its bytes, in 64 hexadecimal digits. */
    readonly sha256: string;
}

/** Stores a file of the worker as an artefact of the build. The path is relative to the builder's folder:
 * `build/dist/app.whl`. A file that is not there or too large fails the step. */
export function publish(path: string, name: string): Artefact;
/** Stores what the step itself made as an artefact of the build, at most 1 MiB. */
export function writeArtefact(name: string, content: string | Uint8Array): Artefact;

/** What a scheduler is asked for. */
export interface TriggerCall {
    /** Why, for people. */
    reason?: string;
    /** Some of the scheduler's builders; none is all. */
    builders?: string[];
    /** "own" is what the build itself checks out, at the revisions that it got. */
    sources?: "own" | Partial<SourceStamp>[];
    properties?: Record<string, Json>;
    /** Higher is sooner; none is as the scheduler likes. */
    priority?: number;
}

/** A build of a buildset. */
export interface TriggeredBuild {
    readonly builder: string;
    readonly number: number;
    readonly outcome: Outcome;
}

/** A buildset of which all requests have ended. */
export interface Completed {
    readonly buildset: number;
    readonly scheduler: string;
    /** The worst of its builds, and of its requests that never became one. */
    readonly outcome: Outcome;
    /** Oldest first; none for a request that was cancelled before it became a build. */
    readonly builds: readonly TriggeredBuild[];
}

/** Builds that a step asks the farm's schedulers for, and waits for. */
export const triggers: {
    /** Asks a scheduler for builds; answers its buildsets, of which there may be none. */
    readonly call: (scheduler: string, call: TriggerCall) => number[];
    /** Waits until each of these buildsets is complete, which this step must have asked for. With `giveBack` others may use the
     * build's slot on its worker meanwhile. */
    readonly wait: (buildsets: number[], giveBack?: boolean) => Completed[];
};

/** There is no such scheduler, it takes no calls or is disabled, or this is wrong in the call, by its path there. */
export class Refused extends Permanent {
    constructor(problems: Problem[]);
    readonly problems: Problem[];
}

/** The step's name in the configuration. */
export function stepName(): string;
/** What the build was asked to check out. */
export function sources(): SourceStamp[];
/** The value of a property of the build. */
export function getProperty<T = Json>(name: string, fallback?: T): T | null;
/** Sets a property of the build. */
export function setProperty(name: string, value: Json): void;
/** Says in a few words how the step goes, or went. */
export function setSummary(text: string): void;
/** Has the build end when this step has returned, with this result. Steps that always run still do. */
export function endBuild(outcome: Outcome, reason?: string): void;
/** Shows a link on the step. */
export function addLink(label: string, url: string): void;
/** Appends text to a log of this step, which is made if it does not exist. */
export function writeLog(name: string, text: string): void;
/** The master's wall clock in milliseconds, the same on every replay. */
export function now(): number;
/** A number that is fixed for the life of the step; above 2^53 it has lost its last digits. */
export function seed(): number;
/** Waits, over restarts of the master too. False if the step was stopped meanwhile. */
export function sleep(duration: Span): boolean;
