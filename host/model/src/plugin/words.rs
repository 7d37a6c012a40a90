//! What a right means, in the words of somebody who has to decide about it.

use super::rights::Right;

impl Right {
    /// What a plugin may do with this pattern: `send requests to …`.
    pub fn explain(self, pattern: &str) -> String {
        match self {
            Self::Commands => match pattern {
                "*" => "run any program on workers".to_owned(),
                "sh" => "run any line of shell, and so any program, on workers".to_owned(),
                _ => format!("run {} on workers", named(pattern, "the program")),
            },
            Self::Http => request(pattern),
            Self::Git => match pattern {
                "*" => "read any repository that the master reaches".to_owned(),
                _ => format!("read {}", named(pattern, "the repository")),
            },
            Self::Secrets => secret(pattern),
            Self::Files => match pattern {
                "*" => "append to any file in the farm's folder, capstan.toml among them".to_owned(),
                _ => format!("append to {}", named(pattern, "the file")),
            },
            Self::Mail => match pattern.strip_prefix("*@") {
                Some(host) => format!("send mail to everybody at {host}"),
                None if pattern == "*" => "send mail to anybody".to_owned(),
                None => format!("send mail to {pattern}"),
            },
            Self::State => match pattern {
                "*" => "remember values from one report to the next".to_owned(),
                _ => format!("remember {}", named(pattern, "the value")),
            },
            Self::Artefacts => match pattern {
                "*" => "store files of builds at the master, under any name".to_owned(),
                _ => format!("store {} at the master", named(pattern, "the artefact")),
            },
            Self::Triggers => match pattern {
                "*" => "ask any scheduler for builds".to_owned(),
                _ => format!("ask the scheduler {pattern} for builds"),
            },
        }
    }
}

fn named(pattern: &str, one: &str) -> String {
    match pattern.strip_suffix('*') {
        Some(prefix) => format!("what is under {prefix}"),
        None => format!("{one} {pattern}"),
    }
}

fn request(pattern: &str) -> String {
    let (methods, address) = match pattern.split_once(' ') {
        Some((methods, address)) => (format!("{} requests", methods.replace(',', ", ")), address),
        None => ("requests of any kind".to_owned(), pattern),
    };
    match address {
        "*" => format!("send {methods} to any public address"),
        _ => match address.strip_suffix("/*") {
            Some(place) => format!("send {methods} to {place}/ and everything below"),
            None => format!("send {methods} to {address}"),
        },
    }
}

fn secret(pattern: &str) -> String {
    let (name, builder) = pattern.split_once('@').unwrap_or((pattern, "*"));
    let secret = match name {
        "*" => "use any secret".to_owned(),
        _ if name.contains('*') => format!("use secrets that are named {name}"),
        _ => format!("use the secret {name}"),
    };
    match builder {
        "*" => secret,
        _ => format!("{secret} in builds of {builder}"),
    }
}
