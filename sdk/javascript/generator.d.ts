// Generators: builders out of parameters, when a configuration is loaded.

import type { Checks, Exported, Json } from "./shared.js";

export { InvalidParameters, Permanent, Transient, log, span } from "./shared.js";
export type { Json, Problem, Span } from "./shared.js";

/** A step or a scheduler: a plugin with its parameters. Its other members are what every step or scheduler has, by its name in
 * configurations: `halt_on_failure`, `locks`, `builders` and so on. */
export interface Use {
    /** The plugin: `shell`, `git`; of schedulers `nightly`, `triggerable`. */
    use: string;
    /** Its name in the builder or the farm. */
    name?: string;
    parameters?: Record<string, any>;
    [option: string]: any;
}

/** A builder. Its other members are the arguments of `builder(…)` in configurations: `workers`, `labels`, `env` and so on. */
export interface Builder {
    name: string;
    steps: Use[];
    [option: string]: any;
}

/** What a generator makes. */
export interface Output {
    /** In the order of the configuration. */
    builders: Builder[];
    /** Schedulers that belong to them. */
    schedulers?: Use[];
    /** What `capstan check` is to say where the generator is called. */
    remarks?: string[];
}

/** A generator. The same parameters have to make the same builders: there is nothing else to make them of. */
export interface Generator<P> extends Checks<P> {
    /** Makes the builders. What comes out is checked like what a configuration says itself. */
    generate(params: P): Output | Builder[];
}

/** `export const generator = defineGenerator({ … })`. */
export function defineGenerator<P = any>(plugin: Generator<P>): Exported;

/** A secret, where the configuration takes `secret("name")`. */
export function secret(name: string): Json;
/** A property of the build, where the configuration takes `prop("name", default = …)`. */
export function prop(name: string, fallback?: Json): Json;
/** A text with properties of the build, where the configuration takes `interpolate("…{branch}…", key = …)`. */
export function interpolate(template: string, values?: Record<string, Json>): Json;
/** A lock that the configuration has defined, for the list `locks`: so many units of it, or all. */
export function lock(name: string, how?: { amount?: number; exclusive?: boolean }): Json;
