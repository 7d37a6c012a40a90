//! Mail as a test sees it: what a reporter put into a message, and whether it was sent.

use std::cell::RefCell;

use serde_json::json;

pub use crate::bindings::reporter::capstan::plugin::mail::MailError;
use crate::test::call::Call;
use crate::test::session;

/// A mail that was sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    /// The line `To`.
    pub to: Vec<String>,
    /// The line `Cc`.
    pub cc: Vec<String>,
    /// Those that no recipient sees.
    pub bcc: Vec<String>,
    /// The subject.
    pub subject: String,
    /// The body as plain text.
    pub text: String,
    /// The body as HTML.
    pub html: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Names, media types and contents of attachments.
    pub attachments: Vec<(String, String, Vec<u8>)>,
}

/// A message while a reporter makes it.
#[derive(Debug, Default)]
pub struct Message(RefCell<Mail>);

impl Message {
    /// A message without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an address to the line `To`.
    pub fn add_to(&self, address: &str) {
        self.0.borrow_mut().to.push(address.to_owned());
    }

    /// Adds an address to the line `Cc`.
    pub fn add_cc(&self, address: &str) {
        self.0.borrow_mut().cc.push(address.to_owned());
    }

    /// Adds an address that no recipient sees.
    pub fn add_bcc(&self, address: &str) {
        self.0.borrow_mut().bcc.push(address.to_owned());
    }

    /// Sets the subject.
    pub fn set_subject(&self, text: &str) {
        text.clone_into(&mut self.0.borrow_mut().subject);
    }

    /// Sets the body as plain text.
    pub fn set_text(&self, text: &str) {
        text.clone_into(&mut self.0.borrow_mut().text);
    }

    /// Sets the body as HTML.
    pub fn set_html(&self, html: &str) {
        html.clone_into(&mut self.0.borrow_mut().html);
    }

    /// Adds a header.
    pub fn add_header(&self, name: &str, value: &str) {
        let header = (name.to_owned(), value.to_owned());
        self.0.borrow_mut().headers.push(header);
    }

    /// Adds an attachment.
    pub fn attach(&self, name: &str, media_type: &str, content: &[u8]) {
        let attachment = (name.to_owned(), media_type.to_owned(), content.to_owned());
        self.0.borrow_mut().attachments.push(attachment);
    }
}

/// Hands a message to the test.
pub fn send(message: &Message) -> Result<(), MailError> {
    let mail = message.0.borrow().clone();
    let headers: serde_json::Map<_, _> = mail.headers.iter().map(|(n, v)| (n.clone(), json!(v))).collect();
    let names: Vec<_> = mail.attachments.iter().map(|(name, ..)| name).collect();
    let with = json!({
        "to": mail.to, "cc": mail.cc, "bcc": mail.bcc, "subject": mail.subject, "text": mail.text,
        "html": mail.html, "headers": headers, "attachments": names,
    });
    session::ask(Call::new("mail.send", mail.subject.clone(), with), |world| {
        if mail.to.is_empty() && mail.cc.is_empty() && mail.bcc.is_empty() {
            return Err(MailError::Invalid("expected a recipient, found none".to_owned()));
        }
        world.send(mail)
    })
}
