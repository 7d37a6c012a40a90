//! A configuration that uses a guest with the parameters of its header: its schema is applied by the host, outside every
//! limit of the guest.

use capstan_config::{Farm, PluginInfo, evaluate};
use capstan_engine::Plugin;
use capstan_hostile::Header;

use crate::calls::Came;

/// Evaluates the configuration, on a thread that may be blocked.
pub async fn configure(plugin: &Plugin, header: &Header) -> Came {
    let info = PluginInfo::new(plugin.manifest().clone(), plugin.digest());
    let text = format!(
        "builder(\"b\", workers = [worker(\"w\")], steps = [step.{}(**json.decode({:?}))])\n",
        plugin.name().replace('-', "_"),
        header.config.to_string(),
    );
    let evaluated = tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ci.star"), text).unwrap();
        let farm = Farm::folder(folder.path(), "ci.star");
        evaluate(&farm, &[info], &|_, _| Ok(())).map(|evaluated| evaluated.plan.builders.len())
    });
    match evaluated.await.unwrap() {
        Ok(builders) => Came::Answer(format!("{builders} builder")),
        Err(faults) => Came::Fault(
            faults
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
                .join("\n"),
        ),
    }
}
