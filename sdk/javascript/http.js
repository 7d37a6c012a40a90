// Requests to HTTP servers, of change sources and reporters; each passes it on.

import host from "capstan:plugin/http";
import { Permanent, Transient, refusal, span, text, utf8 } from "./shared.js";

export class Response {
    constructor({ status, headers, body }) {
        this.status = status;
        this.headers = headers;
        this.body = body;
    }

    get text() {
        return text(this.body);
    }

    json() {
        return JSON.parse(this.text);
    }

    header(name) {
        return this.headers.find((header) => header.name.toLowerCase() === name.toLowerCase())?.value ?? null;
    }

    check() {
        if (this.status >= 200 && this.status < 300) return this;
        const message = `the server answered ${this.status}: ${this.text.slice(0, 300).trim()}`;
        const passes = [408, 425, 429].includes(this.status) || this.status >= 500;
        throw passes ? new Transient(message) : new Permanent(message);
    }
}

function listed(headers = {}) {
    const given = Object.entries(headers).filter(([, value]) => value !== undefined);
    return given.map(([name, value]) => ({ name, value }));
}

export function http(method, url, options = {}) {
    const body = options.body ?? "";
    const request = {
        method,
        url,
        headers: listed(options.headers),
        secretHeaders: listed(options.secretHeaders),
        body: typeof body === "string" ? utf8(body) : body,
        timeoutMs: Math.min(span(options.timeout ?? "30s"), 2 ** 32 - 1),
    };
    try {
        return new Response(host.fetch(request));
    } catch (error) {
        throw explained(error);
    }
}

function explained(error) {
    const { tag, val } = refusal(error);
    switch (tag) {
        case "denied":
            return new Permanent(val);
        case "invalid":
            return new Permanent(`the request is malformed: ${val}`);
        case "too-large":
            return new Permanent("the server's answer is larger than the limit");
        case "timeout":
            return new Transient("the server did not answer in time");
        case "transport":
            return new Transient(`the server cannot be reached: ${val}`);
        default:
            return error;
    }
}
