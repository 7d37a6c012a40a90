//! A message as it goes over the wire: MIME parts, encoded headers, and the envelope with everybody who gets it.

use std::time::SystemTime;

use capstan_engine::{Mail, Mailbox as Recipient};
use lettre::Message;
use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Attachment, Mailbox, MessageBuilder, MultiPart, SinglePart};
use uuid::Uuid;

/// Writes a message of this sender. The text of an error says what is wrong with it.
pub fn write(from: &Mailbox, mail: Mail, now: SystemTime) -> Result<(Envelope, Vec<u8>), String> {
    let addressed = |all: &[Recipient]| all.iter().map(mailbox).collect::<Result<Vec<_>, _>>();
    let (to, cc, bcc) = (addressed(&mail.to)?, addressed(&mail.cc)?, addressed(&mail.bcc)?);
    let everybody = to.iter().chain(&cc).chain(&bcc);
    let everybody = everybody.map(|mailbox| mailbox.email.clone()).collect();
    let envelope = Envelope::new(Some(from.email.clone()), everybody).map_err(|e| e.to_string())?;
    // Those of the blind copy stand on the envelope alone.
    let mut builder = Message::builder()
        .envelope(envelope.clone())
        .from(from.clone())
        .date(now)
        .subject(mail.subject);
    builder = to.into_iter().fold(builder, MessageBuilder::to);
    builder = cc.into_iter().fold(builder, MessageBuilder::cc);
    let own_id = format!("<{}@{}>", Uuid::new_v4(), from.email.domain());
    builder = builder.message_id(Some(own_id));
    builder = builder.raw_header(header("Auto-Submitted", "auto-generated")?);
    for (name, value) in &mail.headers {
        builder = builder.raw_header(header(name, value)?);
    }
    let text = body(mail.text, mail.html);
    let mut parts = Vec::new();
    for file in mail.attachments {
        let media = ContentType::parse(&file.media_type)
            .map_err(|_| format!("expected a media type, found {:?}", file.media_type))?;
        parts.push(Attachment::new(file.name).body(file.content, media));
    }
    let message = match text {
        Body::One(part) if parts.is_empty() => builder.singlepart(part),
        Body::Both(both) if parts.is_empty() => builder.multipart(both),
        Body::One(part) => builder.multipart(files(MultiPart::mixed().singlepart(part), parts)),
        Body::Both(both) => builder.multipart(files(MultiPart::mixed().multipart(both), parts)),
    };
    let message = message.map_err(|e| e.to_string())?;
    Ok((envelope, message.formatted()))
}

enum Body {
    One(SinglePart),
    Both(MultiPart),
}

fn body(text: Option<String>, html: Option<String>) -> Body {
    match (text, html) {
        (Some(text), Some(html)) => Body::Both(MultiPart::alternative_plain_html(text, html)),
        (None, Some(html)) => Body::One(SinglePart::html(html)),
        (text, None) => Body::One(SinglePart::plain(text.unwrap_or_default())),
    }
}

fn files(parts: MultiPart, files: Vec<SinglePart>) -> MultiPart {
    files.into_iter().fold(parts, MultiPart::singlepart)
}

fn header(name: &str, value: &str) -> Result<HeaderValue, String> {
    let known = HeaderName::new_from_ascii(name.to_owned())
        .map_err(|_| format!("expected the name of a header, at most 76 characters, found {name:?}"))?;
    Ok(HeaderValue::new(known, value.to_owned()))
}

fn mailbox(recipient: &Recipient) -> Result<Mailbox, String> {
    // lettre cannot write such a name, and panics when it has to.
    if let Some(name) = recipient
        .name
        .as_ref()
        .filter(|name| name.contains(char::is_control))
    {
        return Err(format!("expected a name on one line, found {name:?}"));
    }
    let email = recipient.address.parse();
    let email = email.map_err(|e| format!("expected an address, found {:?}: {e}", recipient.address))?;
    Ok(Mailbox::new(recipient.name.clone(), email))
}
