// Requests to HTTP servers, of change sources and reporters.

import type { Span } from "./shared.js";

/** What a server answered. */
export class Response {
    readonly status: number;
    readonly headers: { name: string; value: string }[];
    readonly body: Uint8Array;
    readonly text: string;
    json(): any;
    /** The first header of that name, in any case. */
    header(name: string): string | null;
    /** Itself if the status is 200 to 299. Else throws: `Transient` for what a server may get over (408, 425, 429, from 500 on),
     * `Permanent` for the rest. */
    check(): this;
}

/** Sends one request. `secretHeaders`: headers by the secret's name, which the master fills in on the way out. A redirection is an
 * answer like any other. */
export function http(
    method: string,
    url: string,
    options?: {
        /** One that is undefined is left out. */
        headers?: Record<string, string | undefined>;
        secretHeaders?: Record<string, string | undefined>;
        body?: string | Uint8Array;
        /** 30 seconds by default. */
        timeout?: Span;
    },
): Response;
