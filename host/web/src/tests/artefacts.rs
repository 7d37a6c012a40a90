//! Artefacts: listed, handed over whole or in part, and never as a page of this server.

use capstan_model::journal::{Effect, Entry, Kind};
use capstan_model::{Stored, journal};

use super::*;

impl Site {
    /// Stores an artefact as a step does.
    async fn stores(&self, step: StepId, name: &str, content: &[u8]) {
        let sha256 = self.artefacts.put(content.to_vec()).await.unwrap();
        let row = |seq, kind| Entry {
            seq,
            kind,
            call: "artefacts.write".to_owned(),
            class: journal::Class::Local,
            request_hash: sha256,
            request: None,
            response: None,
            at: NOW,
        };
        if self.store.journal(step).await.unwrap().is_empty() {
            self.store
                .begin_step(step, row(0, Kind::Created), NOW)
                .await
                .unwrap();
        }
        let seq = u32::try_from(self.store.journal(step).await.unwrap().len()).unwrap();
        let stored = Stored {
            name: name.to_owned(),
            size: content.len() as u64,
            sha256,
        };
        let effects = vec![Effect::AddArtefact(stored)];
        let added = self
            .store
            .append_journal(step, vec![row(seq, Kind::Local)], effects, None, NOW);
        added.await.unwrap();
    }

    async fn fetch(&self, path: &str, method: &str, headers: &[(header::HeaderName, &str)]) -> Response {
        let mut request = request(method, path);
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        self.send(request.body(Body::empty()).unwrap()).await
    }
}

fn shown(response: &Response, name: header::HeaderName) -> &str {
    let value = response.headers().get(name);
    value.map_or("", |value| value.to_str().unwrap())
}

async fn content(response: Response) -> Vec<u8> {
    let bytes = axum::body::to_bytes(response.into_body(), 16 * 1024 * 1024).await;
    bytes.unwrap().to_vec()
}

#[tokio::test]
async fn an_artefact_is_listed_and_handed_over_byte_for_byte() {
    let site = Site::new().await;
    let (build, step, _) = site.build("linux", "nightly").await;
    let all: Vec<u8> = (0..200_000u32).flat_map(u32::to_le_bytes).collect();
    site.stores(step, "dist/größe 1+2.bin", &all).await;
    site.stores(step, "empty", b"").await;
    let list = site.json(&format!("/api/v1/builds/{build}/artefacts")).await;
    let [first, empty] = &list["artefacts"].as_array().unwrap()[..] else {
        panic!("{list}")
    };
    assert_eq!(
        (&first["name"], &first["size"], &first["step"]),
        (&json!("dist/größe 1+2.bin"), &json!(800_000), &json!(step))
    );
    let digest = Digest::of(&all).to_string();
    assert_eq!(first["sha256"], digest);
    let path = first["path"].as_str().unwrap();
    assert_eq!(
        path,
        format!("/api/v1/builds/{build}/artefacts/dist/gr%C3%B6%C3%9Fe%201%2B2.bin")
    );
    let response = site.get(path).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(shown(&response, header::CONTENT_LENGTH), "800000");
    assert_eq!(shown(&response, header::ETAG), format!("\"{digest}\""));
    assert!(content(response).await == all);
    let response = site.get(empty["path"].as_str().unwrap()).await;
    assert_eq!(
        (response.status(), shown(&response, header::CONTENT_LENGTH)),
        (StatusCode::OK, "0")
    );
    assert_eq!(content(response).await, b"");
    let other = site.build("linux", "x").await.0;
    for missing in [
        format!("/api/v1/builds/{other}/artefacts/empty"),
        format!("/api/v1/builds/{build}/artefacts/dist"),
        format!("/api/v1/builds/{build}/artefacts/..%2Fempty"),
        "/api/v1/builds/99/artefacts".to_owned(),
        "/api/v1/builds/99/artefacts/empty".to_owned(),
    ] {
        let response = site.get(&missing).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{missing}");
    }
}

#[tokio::test]
async fn a_part_of_an_artefact_is_handed_over_and_what_one_has_is_not() {
    let site = Site::new().await;
    let (build, step, _) = site.build("linux", "nightly").await;
    site.stores(step, "a.txt", b"0123456789").await;
    let path = format!("/api/v1/builds/{build}/artefacts/a.txt");
    let part = site.fetch(&path, "GET", &[(header::RANGE, "bytes=7-")]).await;
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(shown(&part, header::CONTENT_RANGE), "bytes 7-9/10");
    assert_eq!(shown(&part, header::CONTENT_LENGTH), "3");
    let tag = shown(&part, header::ETAG).to_owned();
    assert_eq!(content(part).await, b"789");
    let beyond = site.fetch(&path, "GET", &[(header::RANGE, "bytes=10-")]).await;
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(shown(&beyond, header::CONTENT_RANGE), "bytes */10");
    let stale = [(header::RANGE, "bytes=7-"), (header::IF_RANGE, "\"other\"")];
    let whole = site.fetch(&path, "GET", &stale).await;
    assert_eq!(whole.status(), StatusCode::OK);
    assert_eq!(content(whole).await, b"0123456789");
    let had = site.fetch(&path, "GET", &[(header::IF_NONE_MATCH, &tag)]).await;
    assert_eq!(had.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(content(had).await, b"");
    let head = site.fetch(&path, "HEAD", &[(header::RANGE, "bytes=7-")]).await;
    assert_eq!(
        (head.status(), shown(&head, header::CONTENT_LENGTH)),
        (StatusCode::OK, "10")
    );
    assert_eq!(shown(&head, header::ETAG), tag);
    assert_eq!(content(head).await, b"");
}

#[tokio::test]
async fn an_artefact_is_saved_and_never_shown_as_a_page() {
    let site = Site::new().await;
    let (build, step, _) = site.build("linux", "nightly").await;
    let name = "report/\"x\" <b>é.html";
    site.stores(step, name, b"<script>alert(1)</script>").await;
    let list = site.json(&format!("/api/v1/builds/{build}/artefacts")).await;
    let path = list["artefacts"][0]["path"].as_str().unwrap();
    let response = site.get(path).await;
    assert_eq!(shown(&response, header::CONTENT_TYPE), "application/octet-stream");
    assert_eq!(shown(&response, header::X_CONTENT_TYPE_OPTIONS), "nosniff");
    assert_eq!(
        shown(&response, header::CONTENT_DISPOSITION),
        "attachment; filename=\"_x___b__.html\"; filename*=UTF-8''%22x%22%20%3Cb%3E%C3%A9.html"
    );
    let page = site.page(&format!("/builds/{build}")).await;
    let section = &page[page.find("<h2>Artefacts").expect("a section")..];
    assert!(
        section.contains(&format!(r#"href="{path}" download"#)) && section.contains("25 B"),
        "{section}"
    );
    assert!(
        section.contains(">compile</a>"),
        "the step that stored it: {section}"
    );
    assert!(!page.contains("<b>é"), "{page}");
}

#[tokio::test]
async fn a_file_that_is_gone_or_cut_is_an_error_and_not_half_an_artefact() {
    let site = Site::new().await;
    let (build, step, _) = site.build("linux", "nightly").await;
    site.stores(step, "a.txt", b"0123456789").await;
    let path = format!("/api/v1/builds/{build}/artefacts/a.txt");
    let digest = Digest::of(b"0123456789").to_string();
    let file = site
        ._folder
        .path()
        .join("artefacts")
        .join(&digest[..2])
        .join(&digest);
    std::fs::write(&file, b"01234").unwrap();
    assert_eq!(site.get(&path).await.status(), StatusCode::INTERNAL_SERVER_ERROR);
    std::fs::remove_file(&file).unwrap();
    let response = site.get(&path).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let said = text(response).await;
    assert!(!said.contains(site._folder.path().to_str().unwrap()), "{said}");
}
