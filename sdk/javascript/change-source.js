// Change sources: what changed since the last look.

import host from "capstan:plugin/git";
import { Permanent, Transient, bytes, checked, guarded, properties, refusal, remembered, span } from "./shared.js";

export { Response, http } from "./http.js";
export { InvalidParameters, Permanent, Transient, log, span } from "./shared.js";

export function defineChangeSource(plugin) {
    const poll = (config, raw) =>
        guarded(() => {
            const found = plugin.poll(JSON.parse(config), remembered("cursor", raw, null));
            return {
                cursor: bytes(found.cursor ?? null),
                changes: (found.changes ?? []).map(newChange),
                pollAgainMs: span(found.pollAgain ?? "1min"),
            };
        });
    const migrate = (config, from, raw) =>
        guarded(() => {
            if (!plugin.migrate) return raw;
            return bytes(plugin.migrate(JSON.parse(config), from, remembered("cursor", raw, null)));
        });
    return { changeSource: { check: checked(plugin), poll }, migration: { migrate } };
}

function newChange(given) {
    return {
        dedupKey: given.dedupKey,
        codebase: given.codebase ?? "",
        repository: given.repository,
        project: given.project ?? "",
        branch: given.branch ?? null,
        revision: given.revision,
        author: given.author ?? "",
        comments: given.comments ?? "",
        files: given.files ?? [],
        category: given.category ?? null,
        when: given.when ?? 0,
        properties: properties(given.properties),
    };
}

export function gitFetch(repository) {
    const found = asked(() => host.fetch(repository));
    return Object.fromEntries(found.map(({ name, revision }) => [name, revision]));
}

export function gitCommits(repository, since, until, limit = 100) {
    return asked(() => host.commits(repository, since, until, limit));
}

function asked(call) {
    try {
        return call();
    } catch (error) {
        const { tag, val } = refusal(error);
        if (tag === "unavailable") throw new Transient(val);
        if (tag) throw new Permanent(val);
        throw error;
    }
}
