//! Where the farm's secrets come from, as the operator's file says, and the task that keeps the way to them open.

use capstan_config::{Operator, VaultLogin};
use capstan_secrets::{Login, Secrets, VaultSettings};
use tokio_util::sync::CancellationToken;

/// The secrets of a farm.
pub fn open(operator: &Operator) -> Secrets {
    let settings = &operator.secrets;
    let secrets = Secrets::new(
        &settings.folder,
        settings.environment_prefix.as_deref().unwrap_or_default(),
    );
    let Some(vault) = settings.vault.clone() else {
        return secrets;
    };
    secrets.with_vault(VaultSettings {
        address: vault.address,
        namespace: vault.namespace,
        mount: vault.mount,
        folder: vault.folder,
        field: vault.field,
        login: match vault.login {
            VaultLogin::Token(secret) => Login::Token(secret),
            VaultLogin::AppRole {
                mount,
                role,
                secret_id,
            } => Login::AppRole {
                mount,
                role,
                secret_id,
            },
        },
        authority: vault.authority,
        timeout: vault.timeout,
    })
}

/// Renews what secrets are read with, until `shutdown`.
pub async fn keep(secrets: Secrets, shutdown: CancellationToken) {
    tokio::select! {
        () = secrets.keep() => {}
        () = shutdown.cancelled() => {}
    }
}
