//! The typed bindings made from `wit/plugin.wit`, one module per world. Nothing of them leaves this crate.
//!
//! The worlds share the interfaces that they have in common, so that each is implemented once per kind of store.

/// Steps.
pub mod step {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "step-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "capstan:plugin/commands.spec": crate::step::Spec,
            "capstan:plugin/commands.command": crate::step::Started,
        },
    });
}

/// Schedulers.
pub mod scheduler {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "scheduler-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
            "capstan:plugin/log": super::step::capstan::plugin::log,
        },
    });
}

/// Change sources.
pub mod source {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "change-source-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
            "capstan:plugin/log": super::step::capstan::plugin::log,
        },
    });
}

/// Reporters.
pub mod reporter {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "reporter-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
            "capstan:plugin/log": super::step::capstan::plugin::log,
            "capstan:plugin/http": super::source::capstan::plugin::http,
            "capstan:plugin/reports.report": crate::Report,
            "capstan:plugin/mail.message": crate::mail::Draft,
        },
    });
}

/// Generators.
pub mod generator {
    wasmtime::component::bindgen!({
        path: "../../wit",
        world: "generator-plugin",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
            "capstan:plugin/log": super::step::capstan::plugin::log,
        },
    });
}

/// What some schedulers and change sources export beside their world.
pub mod migration {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package capstan:host;
            world migrates {
                export capstan:plugin/migration@0.1.1;
            }
        ",
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
        },
    });
}

/// What some schedulers export beside their world: those that can be asked for builds.
pub mod calls {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package capstan:host;
            world takes-calls {
                export capstan:plugin/calls@0.1.1;
            }
        ",
        imports: { default: async | trappable },
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
        },
    });
}

/// What some schedulers export beside their world: those that follow others.
pub mod completions {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package capstan:host;
            world follows {
                export capstan:plugin/completions@0.1.1;
            }
        ",
        exports: { default: async },
        with: {
            "capstan:plugin/types": super::step::capstan::plugin::types,
            "capstan:plugin/decisions": super::calls::capstan::plugin::decisions,
        },
    });
}

pub(crate) use calls::capstan::plugin::decisions;
pub(crate) use step::capstan::plugin::{log, types};
