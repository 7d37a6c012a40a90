// Reporters: telling people and programs how builds go.

import mail from "capstan:plugin/mail";
import files from "capstan:plugin/report-files";
import state from "capstan:plugin/state";
import { Permanent, Transient, bytes, checked, guarded, refusal, text } from "./shared.js";

export { Response, http } from "./http.js";
export { InvalidParameters, Outcome, Permanent, Transient, log, span } from "./shared.js";

export function defineReporter(plugin) {
    const deliver = (config, handle) =>
        guarded(() => {
            plugin.deliver(JSON.parse(config), new Report(handle));
        });
    return { check: checked(plugin), deliver };
}

const WORDS = ["deliveryId", "phase", "builder", "number", "url", "worker", "reason", "summary"];
const RESULTS = ["outcome", "previousOutcome", "sources", "steps", "started", "finished"];

export class Report {
    constructor(handle) {
        this.handle = handle;
    }

    get properties() {
        return Object.fromEntries(this.handle.properties().map((p) => [p.name, JSON.parse(p.value)]));
    }

    toJson() {
        return this.handle.toJson();
    }
}

for (const name of [...WORDS, ...RESULTS]) {
    Object.defineProperty(Report.prototype, name, {
        get() {
            return this.handle[name]();
        },
    });
}

export function appendLine(path, line) {
    asked(() => files.appendLine(path, line));
}

export function recall(key, fallback = null) {
    const kept = asked(() => state.get(key));
    if (!kept) return fallback;
    try {
        return JSON.parse(text(kept));
    } catch {
        return text(kept);
    }
}

export function remember(key, value) {
    asked(() => state.set(key, bytes(value)));
}

export function forget(key) {
    asked(() => state.delete(key));
}

export function sendMail({ to, subject, text, html, cc = [], bcc = [], headers = {}, attachments = [] }) {
    const message = new mail.Message();
    to.forEach((address) => message.addTo(address));
    cc.forEach((address) => message.addCc(address));
    bcc.forEach((address) => message.addBcc(address));
    message.setSubject(subject);
    if (text) message.setText(text);
    if (html) message.setHtml(html);
    Object.entries(headers).forEach(([name, value]) => message.addHeader(name, value));
    for (const { name, mediaType = "application/octet-stream", content } of attachments) {
        message.attach(name, mediaType, content);
    }
    asked(() => mail.send(message));
}

function asked(call) {
    try {
        return call();
    } catch (error) {
        const { tag, val } = refusal(error);
        if (tag === "unavailable" || tag === "io") throw new Transient(val);
        if (tag) throw new Permanent(val);
        throw error;
    }
}
