//! Pages: useful without a script, and harmless whatever a build prints or is called.

use capstan_model::{ChangeId, NewChange, Outcome, Properties};
use capstan_store::{BuildFinish, NewReport};

use super::*;

mod build;
mod changes;
mod overview;

const HOSTILE: &str = "<script>alert('x')</script>";

#[tokio::test]
async fn an_empty_farm_says_what_to_do() {
    let page = Site::new().await.page("/").await;
    assert!(page.contains("capstan force BUILDER"), "{page}");
}

/// Minutes before the present of these tests.
fn ago(minutes: i64) -> Timestamp {
    NOW.plus_ms(-60_000 * minutes)
}

/// A build to be made, with steps of these names.
struct Plot<'a> {
    builder: &'a str,
    branch: &'a str,
    changes: Vec<ChangeId>,
    steps: &'a [&'a str],
    started: Timestamp,
}

impl Default for Plot<'_> {
    fn default() -> Self {
        Self {
            builder: "linux",
            branch: "main",
            changes: vec![],
            steps: &["compile", "test"],
            started: ago(10),
        }
    }
}

impl Site {
    async fn begin(&self, plot: Plot<'_>) -> (BuildId, Vec<StepId>) {
        let source = SourceStamp {
            branch: Some(plot.branch.to_owned()),
            repository: "https://example.org/r.git".to_owned(),
            revision: Some("0123456789abcdef0123456789abcdef01234567".to_owned()),
            ..SourceStamp::default()
        };
        let set = NewBuildset {
            reason: "pushed".to_owned(),
            sources: vec![source.clone()],
            builders: vec![plot.builder.to_owned()],
            changes: plot.changes,
            ..NewBuildset::default()
        };
        let plan = &self.control.plan;
        self.store.upsert_worker("w1", plot.started).await.unwrap();
        self.store
            .put_plan(plan.bundle.clone(), plot.started)
            .await
            .unwrap();
        let submitted = self.store.submit(set, plot.started).await.unwrap();
        let step = |name: &&str| NewStep {
            name: (*name).to_owned(),
            plugin: "shell".to_owned(),
            digest: Digest::of(b"shell"),
            config: json!({}),
            options: json!({}),
        };
        let new = NewBuild {
            shown: None,
            directory: String::new(),
            locks: Vec::new(),
            builder: plot.builder.to_owned(),
            requests: submitted.requests,
            worker: "w1".to_owned(),
            plan: plan.digest(),
            reason: "pushed".to_owned(),
            sources: vec![source],
            properties: Properties::default(),
            steps: plot.steps.iter().map(step).collect(),
            reports: vec![NewReport {
                reporter: "mail".to_owned(),
                phase: "started".to_owned(),
            }],
        };
        let created = self.store.create_build(new, plot.started).await.unwrap().unwrap();
        (created.id, created.steps)
    }

    async fn end(&self, build: BuildId, outcome: Outcome, summary: &str, at: Timestamp) {
        let finish = BuildFinish {
            outcome,
            summary: summary.to_owned(),
            reports: vec![],
            subscribers: vec![],
            retry: false,
        };
        self.store.finish_build(build, finish, at).await.unwrap();
    }

    /// A build whose last step ended so, a minute after the build began.
    async fn built(&self, plot: Plot<'_>, outcome: Outcome, said: &str) -> BuildId {
        let at = plot.started.plus_ms(60_000);
        let (build, steps) = self.begin(plot).await;
        let (last, before) = steps.split_last().unwrap();
        for step in before {
            self.store
                .finish_step(*step, Outcome::Success, "fine", None, at)
                .await
                .unwrap();
        }
        self.store
            .finish_step(*last, outcome, said, None, at)
            .await
            .unwrap();
        self.end(build, outcome, &format!("build {outcome}"), at).await;
        build
    }

    /// The cookie of somebody who has signed in.
    async fn cookie(&self) -> String {
        let request = request("POST", "/sign-in")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", "same-origin")
            .body(Body::from(format!("token={TOKEN}")));
        let response = self.send(request.unwrap()).await;
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        cookie.split(';').next().unwrap().to_owned()
    }

    async fn page_with(&self, path: &str, cookie: &str) -> String {
        let request = request("GET", path).header(header::COOKIE, cookie);
        text(self.send(request.body(Body::empty()).unwrap()).await).await
    }

    async fn pushed(&self, key: &str, author: &str, branch: &str, comments: &str) -> ChangeId {
        let change = NewChange {
            dedup_key: key.to_owned(),
            codebase: String::new(),
            repository: "https://example.org/r.git".to_owned(),
            project: String::new(),
            branch: Some(branch.to_owned()),
            revision: format!("{key:0>40}"),
            author: author.to_owned(),
            comments: comments.to_owned(),
            files: vec!["src/main.rs".to_owned()],
            category: None,
            when: ago(12),
            properties: Properties::default(),
        };
        let accepted = self
            .store
            .accept_changes("git", b"", vec![change], &[], ago(11))
            .await;
        accepted.unwrap()[0].id
    }
}

/// How often `part` is in `text`.
fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[tokio::test]
async fn names_and_output_are_text_never_markup() {
    let site = Site::new().await;
    let (build, _, log) = site.build(HOSTILE, HOSTILE).await;
    site.print(
        log,
        &format!("{HOSTILE}\n</pre><img src=x onerror=alert(1)>\n\u{1b}[31mred\n"),
    )
    .await;
    for path in ["/".to_owned(), format!("/builds/{build}"), format!("/logs/{log}")] {
        let page = site.page(&path).await;
        assert!(!page.contains("<script>"), "{page}");
        assert!(!page.contains("<img src=x"), "{page}");
        assert!(
            page.contains("&#60;script&#62;") || page.contains("&lt;script&gt;"),
            "{page}"
        );
        assert!(page.contains("A &#60;farm&#62;"), "{page}");
    }
    assert!(
        site.page(&format!("/builds/{build}"))
            .await
            .contains("&#60;b&#62;ann")
    );
}

#[tokio::test]
async fn whatever_a_step_a_change_or_a_log_is_called_is_text() {
    let site = Site::new().await;
    let plot = Plot {
        builder: HOSTILE,
        branch: HOSTILE,
        changes: vec![site.pushed("a", HOSTILE, HOSTILE, HOSTILE).await],
        steps: &[HOSTILE],
        ..Plot::default()
    };
    let build = site.built(plot, Outcome::Failure, HOSTILE).await;
    let step = site.store.steps(build).await.unwrap()[0].id;
    site.store.open_log(step, HOSTILE, NOW).await.unwrap();
    let of_build = format!("/builds/{build}");
    for path in ["/", "/builders", "/changes", &of_build] {
        let page = site.page(path).await;
        assert!(!page.contains("<script>"), "{page}");
    }
    let page = site.page(&of_build).await;
    assert!(page.contains("<b>&#60;script&#62;"), "the step is there: {page}");
}

#[tokio::test]
async fn a_build_leads_to_its_log_and_back() {
    let site = Site::new().await;
    let (build, _, log) = site.build("linux", "nightly").await;
    let list = site.page("/").await;
    assert!(
        list.contains(&format!(r#"<a href="/builds/{build}">linux/1</a>"#)) && list.contains("nightly"),
        "{list}"
    );
    let page = site.page(&format!("/builds/{build}")).await;
    assert!(
        page.contains(&format!(r#"<a href="/logs/{log}">stdio</a>"#)),
        "{page}"
    );
    assert!(
        site.page(&format!("/logs/{log}"))
            .await
            .contains(&format!(r#"<a href="/builds/{build}">"#))
    );
}

#[tokio::test]
async fn what_is_not_there_is_a_page_too() {
    let site = Site::new().await;
    for path in [
        "/builds/99",
        "/logs/99",
        "/builds/x",
        "/builders/none",
        "/changes/99",
    ] {
        let response = site.get(path).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
        assert!(text(response).await.contains("<h1>Not Found</h1>"), "{path}");
    }
}
