//! The door for workers: enrolment, mutual TLS, sessions and log streams over QUIC. The only host crate that names quinn.
//!
//! The master binds a [`Link`], implements [`Port`] (what the link may ask and has to tell), runs the link until it ends,
//! and talks to connected workers through the cheap [`Handle`]. What is said and when is decided by
//! [`capstan_wire::session`]; this crate carries it.

mod accept;
mod authority;
mod enroll;
mod error;
mod handle;
mod link;
mod logs;
mod options;
mod peer;
mod port;
mod seats;
mod serve;
mod socket;
mod tls;

pub use authority::{Authority, Csr, Error as AuthorityError};
pub use error::Error;
pub use handle::{Connected, Handle};
pub use link::Link;
pub use options::Options;
pub use port::{Port, Refusal};
