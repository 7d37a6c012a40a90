// Makes what its parameters say, of every form that there is.

import * as sdk from "./capstan-sdk/generator.js";

export const generator = sdk.defineGenerator({
    check({ words, fail = "" }) {
        const problems = [];
        if (!Array.isArray(words)) problems.push({ path: "words", message: "expected a list" });
        else if (words.length === 0) problems.push({ path: "words", message: "expected a word, found none: ü" });
        if (typeof fail !== "string") problems.push({ path: "fail", message: "expected a text" });
        return problems;
    },

    generate({ words, fail }) {
        if (fail === "permanent") throw new sdk.Permanent("not here: ü");
        if (fail === "bug") throw new RangeError("no luck");
        const builders = words.map(builder);
        const scheduler = { use: "triggerable", name: "all", builders: builders.map(({ name }) => name), parameters: {} };
        return { builders, schedulers: [scheduler], remarks: [`made ${words.length}`] };
    },
});

function builder(word) {
    const step = {
        use: "shell",
        name: word,
        halt_on_failure: false,
        parameters: {
            command: ["make", sdk.prop("target"), sdk.prop("rest", "all")],
            env: { TOKEN: sdk.secret("deploy"), WHERE: sdk.interpolate("{branch}/ü") },
        },
    };
    const steps = [step, { use: "git", parameters: {} }];
    return { name: `builder ${word}`, labels: ["linux"], locks: [sdk.lock("database")], steps };
}
