//! Mail of reporters: a message is gathered here within bounds, checked when it is sent, then for the right to write to
//! each recipient, then handed to the master's port.

use std::mem;
use std::time::Instant;

use capstan_model::plugin::Right;
use wasmtime::component::Resource;

use crate::bindings::reporter::capstan::plugin::mail;
use crate::call::{CallState, Trap};
use crate::ports::{Attachment, Mail, MailFault, Mailbox};

/// Everything that one message holds, in bytes.
const MAX_MESSAGE: usize = 8 << 20;
const MAX_RECIPIENTS: usize = 100;
const MAX_HEADERS: usize = 50;
const MAX_ATTACHMENTS: usize = 20;
/// A line of a header, names of files and addresses too.
const MAX_LINE: usize = 900;
/// Messages that one instance holds at once.
const MAX_MESSAGES: usize = 8;

/// A message in the making. A fault waits for `send` to tell it.
#[derive(Default)]
pub struct Draft {
    mail: Mail,
    bytes: usize,
    fault: Option<String>,
}

impl Draft {
    fn fault(&mut self, text: String) {
        self.fault.get_or_insert(text);
    }

    /// Whether there is room for so many bytes more.
    fn room(&mut self, bytes: usize) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_MESSAGE {
            self.fault(format!(
                "expected at most {} MiB in all, found more",
                MAX_MESSAGE >> 20
            ));
        }
        self.fault.is_none()
    }

    fn line(&mut self, what: &str, text: &str) -> bool {
        if let Err(fault) = line(what, text) {
            self.fault(fault);
        }
        self.room(text.len())
    }

    /// Adds a recipient to the list that `list` answers.
    fn address(&mut self, text: &str, list: fn(&mut Mail) -> &mut Vec<Mailbox>) {
        if !self.line("an address", text) {
            return;
        }
        if self.mail.recipients().count() == MAX_RECIPIENTS {
            return self.fault(format!(
                "expected at most {MAX_RECIPIENTS} recipients, found more"
            ));
        }
        match mailbox(text) {
            Ok(mailbox) => list(&mut self.mail).push(mailbox),
            Err(fault) => self.fault(fault),
        }
    }

    fn header(&mut self, name: String, value: String) {
        if !(self.line("the name of a header", &name) && self.line("the value of a header", &value)) {
            return;
        }
        if self.mail.headers.len() == MAX_HEADERS {
            return self.fault(format!("expected at most {MAX_HEADERS} headers, found more"));
        }
        if !may_be_set(&name) {
            return self.fault(format!("the header {name:?} is not a plugin's to set"));
        }
        self.mail.headers.push((name, value));
    }

    fn attach(&mut self, name: String, media_type: String, content: Vec<u8>) {
        if !(self.line("the name of a file", &name)
            && self.line("a media type", &media_type)
            && self.room(content.len()))
        {
            return;
        }
        if self.mail.attachments.len() == MAX_ATTACHMENTS {
            return self.fault(format!(
                "expected at most {MAX_ATTACHMENTS} attachments, found more"
            ));
        }
        if !is_media_type(&media_type) {
            return self.fault(format!(
                "expected a media type as `text/plain`, found {media_type:?}"
            ));
        }
        self.mail.attachments.push(Attachment {
            name,
            media_type,
            content,
        });
    }

    fn finished(&self) -> Result<&Mail, String> {
        if let Some(fault) = &self.fault {
            return Err(fault.clone());
        }
        if self.mail.recipients().next().is_none() {
            return Err("expected a recipient, found none".to_owned());
        }
        Ok(&self.mail)
    }
}

/// One line: whatever could end a header and begin another is refused.
fn line(what: &str, text: &str) -> Result<(), String> {
    if text.len() > MAX_LINE {
        return Err(format!(
            "expected {what} of at most {MAX_LINE} bytes, found {}",
            text.len()
        ));
    }
    if text
        .chars()
        .any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
    {
        let shown: String = text.chars().take(100).collect();
        return Err(format!("expected {what} on one line, found {shown:?}"));
    }
    Ok(())
}

/// `user@host` or `Name <user@host>`. Stricter than the RFCs: no quoted local part, no comment, no address literal, so that
/// one text is one address for everybody who reads it.
fn mailbox(text: &str) -> Result<Mailbox, String> {
    let expected = || format!("expected `user@host` or `Name <user@host>`, found {text:?}");
    let (name, address) = match text.trim().strip_suffix('>') {
        Some(rest) => {
            let (name, address) = rest.rsplit_once('<').ok_or_else(expected)?;
            (name.trim().trim_matches('"'), address)
        }
        None => ("", text.trim()),
    };
    if name.contains(['<', '>', '"', '\\']) {
        return Err(expected());
    }
    let (user, host) = address.split_once('@').ok_or_else(expected)?;
    let atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    let user_fits = (1..=64).contains(&user.len())
        && user.chars().all(atom)
        && user.split('.').all(|part| !part.is_empty());
    let label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    if !user_fits || host.len() > 253 || !host.split('.').all(label) {
        return Err(expected());
    }
    Ok(Mailbox {
        name: (!name.is_empty()).then(|| name.to_owned()),
        // The host in one spelling, as the right's pattern has it.
        address: format!("{user}@{}", host.to_ascii_lowercase()),
    })
}

/// Headers that say nothing about who sends, who gets it and how it is written.
fn may_be_set(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let word = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let known = [
        "reply-to",
        "message-id",
        "in-reply-to",
        "references",
        "auto-submitted",
        "precedence",
        "importance",
    ];
    let open = ["x-", "list-"];
    word && (known.contains(&name.as_str())
        || open
            .iter()
            .any(|start| name.len() > start.len() && name.starts_with(start)))
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    // A part that holds parts of its own would be read as structure.
    text.split_once('/')
        .is_some_and(|(kind, form)| token(kind) && token(form) && !kind.eq_ignore_ascii_case("multipart"))
}

impl mail::HostMessage for CallState {
    async fn new(&mut self) -> wasmtime::Result<Resource<Draft>> {
        if self.drafts == MAX_MESSAGES {
            return Err(self.guest.end(Trap::TooMuch(format!(
                "more than {MAX_MESSAGES} messages at once"
            ))));
        }
        self.drafts += 1;
        Ok(self.table.push(Draft::default())?)
    }

    async fn add_to(&mut self, message: Resource<Draft>, address: String) -> wasmtime::Result<()> {
        self.table
            .get_mut(&message)?
            .address(&address, |mail| &mut mail.to);
        Ok(())
    }

    async fn add_cc(&mut self, message: Resource<Draft>, address: String) -> wasmtime::Result<()> {
        self.table
            .get_mut(&message)?
            .address(&address, |mail| &mut mail.cc);
        Ok(())
    }

    async fn add_bcc(&mut self, message: Resource<Draft>, address: String) -> wasmtime::Result<()> {
        self.table
            .get_mut(&message)?
            .address(&address, |mail| &mut mail.bcc);
        Ok(())
    }

    async fn set_subject(&mut self, message: Resource<Draft>, text: String) -> wasmtime::Result<()> {
        let draft = self.table.get_mut(&message)?;
        if draft.line("a subject", &text) {
            draft.mail.subject = text;
        }
        Ok(())
    }

    async fn set_text(&mut self, message: Resource<Draft>, text: String) -> wasmtime::Result<()> {
        let draft = self.table.get_mut(&message)?;
        draft.bytes -= mem::take(&mut draft.mail.text).map_or(0, |old| old.len());
        if draft.room(text.len()) {
            draft.mail.text = Some(text);
        }
        Ok(())
    }

    async fn set_html(&mut self, message: Resource<Draft>, html: String) -> wasmtime::Result<()> {
        let draft = self.table.get_mut(&message)?;
        draft.bytes -= mem::take(&mut draft.mail.html).map_or(0, |old| old.len());
        if draft.room(html.len()) {
            draft.mail.html = Some(html);
        }
        Ok(())
    }

    async fn add_header(
        &mut self,
        message: Resource<Draft>,
        name: String,
        value: String,
    ) -> wasmtime::Result<()> {
        self.table.get_mut(&message)?.header(name, value);
        Ok(())
    }

    async fn attach(
        &mut self,
        message: Resource<Draft>,
        name: String,
        media_type: String,
        content: Vec<u8>,
    ) -> wasmtime::Result<()> {
        self.table.get_mut(&message)?.attach(name, media_type, content);
        Ok(())
    }

    async fn drop(&mut self, message: Resource<Draft>) -> wasmtime::Result<()> {
        self.table.delete(message)?;
        self.drafts = self.drafts.saturating_sub(1);
        Ok(())
    }
}

impl mail::Host for CallState {
    async fn send(&mut self, message: Resource<Draft>) -> wasmtime::Result<Result<(), mail::MailError>> {
        let ports = self.reach("mail.send")?;
        let mail = match self.table.get(&message)?.finished() {
            Ok(mail) => mail.clone(),
            Err(fault) => return Ok(Err(mail::MailError::Invalid(fault))),
        };
        for mailbox in mail.recipients() {
            if let Err(refused) = self.guest.allow(Right::Mail, &mailbox.address) {
                return Ok(Err(mail::MailError::Denied(refused)));
            }
        }
        let since = Instant::now();
        let answer = ports.mail.send(mail).await;
        self.guest.returned(since);
        Ok(answer.map_err(mail::MailError::from))
    }
}

impl From<MailFault> for mail::MailError {
    fn from(fault: MailFault) -> Self {
        match fault {
            MailFault::Invalid(text) => Self::Invalid(text),
            MailFault::Unavailable(text) => Self::Unavailable(text),
            MailFault::Rejected(text) => Self::Rejected(text),
        }
    }
}
