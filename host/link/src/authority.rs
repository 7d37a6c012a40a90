//! The master's own certificate authority: one key that signs the server's certificate and the workers' memberships.
//!
//! It lives in two files of its folder. Who holds the key can admit workers: it is readable by its owner only.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use capstan_model::{Digest, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, date_time_ymd,
};
use uuid::Uuid;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

const KEY: &str = "key.pem";
const CERTIFICATE: &str = "certificate.pem";

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Membership ends by revocation at the master, which every connection asks; so certificates outlive machines.
const MEMBERSHIP: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
const AUTHORITY: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
/// Issued anew at every start of the master.
const SERVER: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

/// The longest name of a worker.
const MAX_NAME: usize = 64;

/// See the module.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
    installation: Uuid,
}

/// A checked signing request: only its public key is used.
pub struct Csr(rcgen::PublicKey);

/// Why there is no authority, or why it does not sign.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of it cannot be read or written.
    #[error("{path} could not be {what}: {source}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate is there, its key is not.
    #[error(
        "expected the authority's private key at {0}, found none; restore it from a backup, or remove the folder and \
         let every worker join again"
    )]
    NoKey(PathBuf),
    /// Others can read the key.
    #[error("expected {path} to be readable by its owner only, found mode {mode:03o}; run `chmod 600` on it")]
    Exposed {
        /// The key.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file holds something else.
    #[error("expected {path} to hold {expected}: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The request is none, or was not signed with its own key.
    #[error("expected a certificate signing request, signed with its own key: {0}")]
    Csr(String),
    /// The name cannot stand in a certificate.
    #[error("expected a worker's name of 1 to {MAX_NAME} letters, digits, `.`, `_` and `-`, found {0:?}")]
    Name(String),
    /// The signing itself failed.
    #[error("a certificate could not be issued: {0}")]
    Issue(String),
    /// A certificate that is not a membership of this farm.
    #[error("expected a certificate of a worker of this farm, found {0}")]
    Membership(String),
}

impl Authority {
    /// Opens the authority in `folder`; makes it at the first start.
    pub fn open_or_create(folder: &Path, installation: Uuid, now: Timestamp) -> Result<Self, Error> {
        let (key, certificate) = (folder.join(KEY), folder.join(CERTIFICATE));
        match (key.exists(), certificate.exists()) {
            (false, true) => return Err(Error::NoKey(key)),
            (false, false) => {
                fs::create_dir_all(folder).map_err(file(folder, "made"))?;
                let pair = KeyPair::generate().map_err(issue)?;
                write(&key, Zeroizing::new(pair.serialize_pem()).as_bytes(), 0o600)?;
            }
            (true, _) => {}
        }
        let pair = read_key(&key)?;
        if !certificate.exists() {
            // The first start, or one that died between the two files: nobody has seen a certificate yet.
            let made = authority_params(installation, now)
                .self_signed(&pair)
                .map_err(issue)?;
            write(&certificate, made.pem().as_bytes(), 0o644)?;
        }
        Self::load(&certificate, pair, installation)
    }

    /// Bytes that only this farm's masters know, the same for each of them, different for each purpose.
    pub(crate) fn derive(&self, purpose: &str) -> [u8; 32] {
        let key = Zeroizing::new(self.issuer.key().serialize_der());
        *Digest::of(&[purpose.as_bytes(), &[0], &key].concat()).as_bytes()
    }

    /// SHA-256 of the authority's certificate: what join strings pin.
    pub fn fingerprint(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// The authority's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Checks a signing request (DER). What it asks for beside its key is ignored.
    pub fn check_csr(csr: &[u8]) -> Result<Csr, Error> {
        let request = CertificateSigningRequestParams::from_der(&csr.to_vec().into());
        Ok(Csr(request
            .map_err(|error| Error::Csr(error.to_string()))?
            .public_key))
    }

    /// Issues a worker's certificate, DER.
    pub fn sign_csr(&self, csr: &Csr, name: &str, now: Timestamp) -> Result<Vec<u8>, Error> {
        check_name(name)?;
        let uri = format!("capstan://{}/worker/{name}", self.installation);
        let uri = SanType::URI(uri.try_into().map_err(issue)?);
        let mut params = leaf_params(name, uri, now, MEMBERSHIP);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        Ok(params
            .signed_by(&csr.0, &self.issuer)
            .map_err(issue)?
            .der()
            .to_vec())
    }

    /// A fresh certificate for this master, DER, and its private key, PKCS #8.
    pub fn issue_server(&self, now: Timestamp) -> Result<(Vec<u8>, Zeroizing<Vec<u8>>), Error> {
        let key = KeyPair::generate().map_err(issue)?;
        let name = SanType::DnsName(capstan_wire::SERVER_NAME.try_into().map_err(issue)?);
        let mut params = leaf_params(capstan_wire::SERVER_NAME, name, now, SERVER);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).map_err(issue)?;
        Ok((certificate.der().to_vec(), Zeroizing::new(key.serialize_der())))
    }

    /// Whose membership this certificate is. Its signature was checked by the TLS handshake.
    pub fn member(&self, certificate: &[u8]) -> Result<String, Error> {
        let wrong = |found: &str| Error::Membership(found.to_owned());
        let (_, parsed) = X509Certificate::from_der(certificate).map_err(|e| wrong(&e.to_string()))?;
        let names = parsed
            .subject_alternative_name()
            .map_err(|e| wrong(&e.to_string()))?;
        let names = names.ok_or_else(|| wrong("one without a name"))?;
        let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else {
            return Err(wrong("one that is not a worker's"));
        };
        let prefix = format!("capstan://{}/worker/", self.installation);
        let name = uri
            .strip_prefix(&prefix)
            .ok_or_else(|| wrong(&format!("one for {uri}")))?;
        check_name(name)?;
        Ok(name.to_owned())
    }

    fn load(path: &Path, key: KeyPair, installation: Uuid) -> Result<Self, Error> {
        let damaged = |reason: String| Error::Damaged {
            path: path.to_owned(),
            expected: "the certificate that belongs to the authority's key",
            reason,
        };
        let text = fs::read(path).map_err(file(path, "read"))?;
        let (_, pem) = x509_parser::pem::parse_x509_pem(&text).map_err(|e| damaged(e.to_string()))?;
        let parsed = pem.parse_x509().map_err(|e| damaged(e.to_string()))?;
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(damaged("it belongs to another key".to_owned()));
        }
        let certificate = pem.contents.clone();
        let issuer =
            Issuer::from_ca_cert_der(&certificate.clone().into(), key).map_err(|e| damaged(e.to_string()))?;
        Ok(Self {
            issuer,
            certificate,
            installation,
        })
    }
}

fn authority_params(installation: Uuid, now: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, AUTHORITY);
    params.distinguished_name = rcgen::DistinguishedName::new();
    // The name tells farms apart where several authorities are trusted.
    params
        .distinguished_name
        .push(DnType::CommonName, format!("capstan {installation}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn leaf_params(name: &str, san: SanType, now: Timestamp, lifetime: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    set_validity(&mut params, now, lifetime);
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.subject_alt_names = vec![san];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

/// From a day ago, for clocks that are late.
fn set_validity(params: &mut CertificateParams, now: Timestamp, lifetime: Duration) {
    let now = date_time_ymd(1970, 1, 1) + Duration::from_millis(u64::try_from(now.0).unwrap_or(0));
    params.not_before = now - DAY;
    params.not_after = now + lifetime;
}

fn check_name(name: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let fits = (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain);
    if fits {
        Ok(())
    } else {
        Err(Error::Name(name.chars().take(MAX_NAME).collect()))
    }
}

fn read_key(path: &Path) -> Result<KeyPair, Error> {
    check_mode(path)?;
    let text = Zeroizing::new(fs::read_to_string(path).map_err(file(path, "read"))?);
    KeyPair::from_pem(&text).map_err(|error| Error::Damaged {
        path: path.to_owned(),
        expected: "the authority's private key, as PEM",
        reason: error.to_string(),
    })
}

#[cfg(unix)]
fn check_mode(path: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt;
    let mode = fs::metadata(path)
        .map_err(file(path, "read"))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else {
        Err(Error::Exposed {
            path: path.to_owned(),
            mode,
        })
    }
}

#[cfg(not(unix))]
fn check_mode(_path: &Path) -> Result<(), Error> {
    Ok(())
}

/// Whole or not at all: a new file takes the name once it is on disk.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Error> {
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    let done = options.open(&new).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()?;
        fs::rename(&new, path)?;
        path.parent()
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    });
    done.map_err(file(path, "written"))
}

fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Error {
    let path = path.to_owned();
    move |source| Error::File { path, what, source }
}

fn issue(error: impl std::fmt::Display) -> Error {
    Error::Issue(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn csr(params: CertificateParams) -> Vec<u8> {
        params
            .serialize_request(&KeyPair::generate().unwrap())
            .unwrap()
            .der()
            .to_vec()
    }

    fn error<T>(result: Result<T, Error>, folder: &Path) -> String {
        result
            .err()
            .unwrap()
            .to_string()
            .replace(&*folder.to_string_lossy(), "[authority]")
    }

    #[test]
    fn a_restart_finds_the_same_authority_and_the_members_it_made() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::open_or_create(folder.path(), Uuid::from_u128(7), NOW).unwrap();
        let request = Authority::check_csr(&csr(CertificateParams::default())).unwrap();
        let certificate = first.sign_csr(&request, "w1", NOW).unwrap();
        let second = Authority::open_or_create(folder.path(), Uuid::from_u128(7), NOW.plus_ms(1000)).unwrap();
        assert_eq!(first.fingerprint(), second.fingerprint());
        assert_eq!(second.member(&certificate).unwrap(), "w1");
        let other = Authority::open_or_create(folder.path(), Uuid::from_u128(8), NOW).unwrap();
        assert!(
            other
                .member(&certificate)
                .unwrap_err()
                .to_string()
                .contains("/worker/w1")
        );
    }

    #[test]
    fn a_request_gets_the_name_of_the_invitation_whatever_it_asks_for() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::open_or_create(folder.path(), Uuid::from_u128(7), NOW).unwrap();
        let mut greedy = CertificateParams::new(vec!["capstan-master".to_owned()]).unwrap();
        greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = Authority::check_csr(&csr(greedy)).unwrap();
        let certificate = authority.sign_csr(&request, "w1", NOW).unwrap();
        assert_eq!(authority.member(&certificate).unwrap(), "w1");
        let (_, parsed) = X509Certificate::from_der(&certificate).unwrap();
        assert!(!parsed.is_ca());
        for name in ["", "a b", "w/1", &"x".repeat(65)] {
            assert!(
                matches!(authority.sign_csr(&request, name, NOW), Err(Error::Name(_))),
                "{name}"
            );
        }
        let (server, _) = authority.issue_server(NOW).unwrap();
        assert!(
            authority.member(&server).is_err(),
            "the master's own certificate is no membership"
        );
    }

    #[test]
    fn a_request_that_was_tampered_with_is_refused() {
        let mut request = csr(CertificateParams::default());
        *request.last_mut().unwrap() ^= 1;
        assert!(matches!(Authority::check_csr(&request), Err(Error::Csr(_))));
        assert!(matches!(Authority::check_csr(b"no request"), Err(Error::Csr(_))));
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_others_can_read_or_that_is_gone_stops_the_master() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let open = || Authority::open_or_create(folder.path(), Uuid::nil(), NOW);
        open().unwrap();
        let key = folder.path().join(KEY);
        assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        insta::assert_snapshot!(error(open(), folder.path()), @"expected [authority]/key.pem to be readable by its owner only, found mode 644; run `chmod 600` on it");
        fs::remove_file(&key).unwrap();
        insta::assert_snapshot!(error(open(), folder.path()), @"expected the authority's private key at [authority]/key.pem, found none; restore it from a backup, or remove the folder and let every worker join again");
        write(
            &key,
            KeyPair::generate().unwrap().serialize_pem().as_bytes(),
            0o600,
        )
        .unwrap();
        insta::assert_snapshot!(error(open(), folder.path()), @"expected [authority]/certificate.pem to hold the certificate that belongs to the authority's key: it belongs to another key");
    }
}
