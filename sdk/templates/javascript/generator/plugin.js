// A generator that makes a builder for each package.

import { defineGenerator } from "./capstan-sdk/generator.js";

export const generator = defineGenerator({
    check({ packages }) {
        if (packages.length > 0) return [];
        return [{ path: "packages", message: "expected at least one package, found none" }];
    },

    generate({ packages, labels = [] }) {
        return packages.map(({ name, tests = true }) => {
            const make = (target, options) => ({
                use: "shell",
                name: target,
                parameters: { command: ["make", target, name] },
                ...options,
            });
            const steps = [make("build")];
            if (tests) steps.push(make("check", { halt_on_failure: false }));
            return { name: `package ${name}`, labels, steps };
        });
    },
});
