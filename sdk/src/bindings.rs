//! What wit-bindgen makes of `wit/plugin.wit`. Types that several worlds share are made once.

pub mod shared {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package capstan:sdk;
            world shared {
                import capstan:plugin/types@0.1.1;
                import capstan:plugin/log@0.1.1;
                import capstan:plugin/http@0.1.1;
            }
        ",
        generate_all,
        additional_derives: [PartialEq],
    });
}

pub mod step {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capstan:plugin/step-plugin",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
            "capstan:plugin/log@0.1.1": crate::bindings::shared::capstan::plugin::log,
        },
        pub_export_macro: true,
        export_macro_name: "export_step",
        default_bindings_module: "capstan_sdk::bindings::step",
    });
}

pub mod scheduler {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capstan:plugin/scheduler-plugin",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
            "capstan:plugin/log@0.1.1": crate::bindings::shared::capstan::plugin::log,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_scheduler",
        default_bindings_module: "capstan_sdk::bindings::scheduler",
    });
}

pub mod change_source {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capstan:plugin/change-source-plugin",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
            "capstan:plugin/log@0.1.1": crate::bindings::shared::capstan::plugin::log,
            "capstan:plugin/http@0.1.1": crate::bindings::shared::capstan::plugin::http,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_change_source",
        default_bindings_module: "capstan_sdk::bindings::change_source",
    });
}

pub mod reporter {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capstan:plugin/reporter-plugin",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
            "capstan:plugin/log@0.1.1": crate::bindings::shared::capstan::plugin::log,
            "capstan:plugin/http@0.1.1": crate::bindings::shared::capstan::plugin::http,
        },
        pub_export_macro: true,
        export_macro_name: "export_reporter",
        default_bindings_module: "capstan_sdk::bindings::reporter",
    });
}

pub mod generator {
    wit_bindgen::generate!({
        path: "../wit",
        world: "capstan:plugin/generator-plugin",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
            "capstan:plugin/log@0.1.1": crate::bindings::shared::capstan::plugin::log,
        },
        pub_export_macro: true,
        export_macro_name: "export_generator",
        default_bindings_module: "capstan_sdk::bindings::generator",
    });
}

/// Exported beside the world of a scheduler or a change source by those that translate what an older version left.
pub mod migration {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package capstan:sdk;
            world migration {
                export capstan:plugin/migration@0.1.1;
            }
        ",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
        },
        pub_export_macro: true,
        export_macro_name: "export_migration",
        default_bindings_module: "capstan_sdk::bindings::migration",
    });
}

/// Exported beside the world of a scheduler by those that can be asked for builds.
pub mod calls {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package capstan:sdk;
            world calls {
                export capstan:plugin/calls@0.1.1;
            }
        ",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
        },
        generate_all,
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_calls",
        default_bindings_module: "capstan_sdk::bindings::calls",
    });
}

/// Exported beside the world of a scheduler by those that follow others.
pub mod completions {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package capstan:sdk;
            world completions {
                export capstan:plugin/completions@0.1.1;
            }
        ",
        with: {
            "capstan:plugin/types@0.1.1": crate::bindings::shared::capstan::plugin::types,
            "capstan:plugin/decisions@0.1.1": crate::bindings::calls::capstan::plugin::decisions,
        },
        additional_derives: [PartialEq],
        pub_export_macro: true,
        export_macro_name: "export_completions",
        default_bindings_module: "capstan_sdk::bindings::completions",
    });
}
