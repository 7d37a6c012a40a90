//! Event streams: nothing is lost or told twice, also by a reader that was cut off.

use std::time::Duration;

use super::*;

/// Long enough for a slow machine; no test waits for it unless it fails.
const PATIENCE: Duration = Duration::from_secs(20);

struct Reader {
    body: axum::body::BodyDataStream,
    buffer: String,
}

#[derive(Debug, PartialEq)]
struct Told {
    kind: String,
    id: String,
    data: Value,
}

impl Reader {
    async fn open(site: &Site, path: &str, last: Option<&str>) -> Self {
        let mut get = request("GET", path);
        if let Some(id) = last {
            get = get.header("last-event-id", id);
        }
        let response = site.send(get.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Self {
            body: response.into_body().into_data_stream(),
            buffer: String::new(),
        }
    }

    /// The next event; `None` at the end of the stream.
    async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((event, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(name))
                        .unwrap_or_default()
                        .to_owned()
                };
                let told = Told {
                    kind: field("event: "),
                    id: field("id: "),
                    data: serde_json::from_str(&field("data: ")).unwrap_or_default(),
                };
                self.buffer = rest.to_owned();
                return Some(told);
            }
            let piece = tokio::time::timeout(PATIENCE, self.body.next())
                .await
                .expect("an event or the end of the stream");
            self.buffer += std::str::from_utf8(&piece?.unwrap()).unwrap();
        }
    }
}

fn texts(told: &Told) -> Vec<&str> {
    told.data["lines"]
        .as_array()
        .unwrap()
        .iter()
        .map(|line| line["text"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_growing_log_is_followed_to_its_end() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let mut reader = Reader::open(&site, &format!("/api/v1/logs/{log}/follow"), None).await;
    site.print(log, "one\ntw").await;
    let told = reader.next().await.unwrap();
    assert_eq!(
        (told.kind.as_str(), told.id.as_str(), texts(&told)),
        ("lines", "1", vec!["one"])
    );
    site.print(log, "o\nthree").await;
    assert_eq!(texts(&reader.next().await.unwrap()), ["two"]);
    site.logs.seal(log).await.unwrap();
    assert_eq!(texts(&reader.next().await.unwrap()), ["three"]);
    let end = reader.next().await.unwrap();
    assert_eq!(
        (end.kind.as_str(), &end.data["total"], &end.data["complete"]),
        ("complete", &json!(3), &json!(true))
    );
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_fast_log_comes_in_batches_and_loses_nothing() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let mut reader = Reader::open(&site, &format!("/api/v1/logs/{log}/follow?styled=true"), None).await;
    site.print(log, "first\n").await;
    let first = reader.next().await.unwrap();
    assert_eq!(texts(&first), ["first"], "at once, alone");
    assert_eq!(first.data["lines"][0]["spans"], json!([["", "first"]]));
    let began = std::time::Instant::now();
    let print = async {
        for number in 0..2000 {
            site.print(log, &format!("{number}\n")).await;
        }
        site.logs.seal(log).await.unwrap();
    };
    let read = async {
        let (mut events, mut numbers) = (0, Vec::new());
        loop {
            let told = reader.next().await.unwrap();
            if told.kind == "complete" {
                return (events, numbers);
            }
            events += 1;
            numbers.extend(texts(&told).into_iter().map(|text| text.parse::<u32>().unwrap()));
        }
    };
    let ((), (events, numbers)) = tokio::join!(print, read);
    assert_eq!(numbers, (0..2000).collect::<Vec<_>>());
    let most = 20 + began.elapsed().as_millis() / 50;
    assert!(events <= most, "{events} events, {most} at most");
}

#[tokio::test]
async fn who_wants_the_newest_lines_skips_what_is_behind() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let lines: String = (0..5000).map(|number| format!("{number}\n")).collect();
    site.print(log, &lines).await;
    let path = format!("/api/v1/logs/{log}/follow?newest=true&from=10");
    let mut reader = Reader::open(&site, &path, None).await;
    let told = reader.next().await.unwrap();
    assert_eq!((told.id.as_str(), &told.data["first"]), ("5000", &json!(4000)));
    assert_eq!(texts(&told).first(), Some(&"4000"));
    site.logs.seal(log).await.unwrap();
    assert_eq!(reader.next().await.unwrap().kind, "complete");
    let mut all = Reader::open(&site, &format!("/api/v1/logs/{log}/follow?from=10"), None).await;
    assert_eq!(all.next().await.unwrap().data["first"], 10);
}

#[tokio::test]
async fn a_reader_that_was_cut_off_goes_on_where_it_was() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    site.print(log, "0\n1\n2\n3\n").await;
    site.logs.seal(log).await.unwrap();
    let path = format!("/api/v1/logs/{log}/follow?from=1");
    assert_eq!(
        texts(&Reader::open(&site, &path, None).await.next().await.unwrap()),
        ["1", "2", "3"]
    );
    let mut resumed = Reader::open(&site, &path, Some("3")).await;
    assert_eq!(texts(&resumed.next().await.unwrap()), ["3"]);
    assert_eq!(resumed.next().await.unwrap().kind, "complete");
    let behind = Reader::open(&site, &path, Some("99")).await.next().await.unwrap();
    assert_eq!(behind.kind, "complete");
    let nonsense = request("GET", &path)
        .header("last-event-id", "x")
        .body(Body::empty())
        .unwrap();
    assert_eq!(site.send(nonsense).await.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_feed_tells_everything_once_from_any_point() {
    let site = Site::new().await;
    let mut live = Reader::open(&site, "/api/v1/events", None).await;
    site.build("linux", "first").await;
    let first = live.next().await.unwrap();
    assert!(
        !first.kind.is_empty() && first.data["kind"] == first.kind,
        "{first:?}"
    );
    let mut all = Vec::new();
    let last = site.store.last_event_id().await.unwrap().to_string();
    let mut history = Reader::open(&site, "/api/v1/events?after=0", None).await;
    while all.last().is_none_or(|told: &Told| told.id != last) {
        all.push(history.next().await.unwrap());
    }
    let kinds: Vec<_> = all.iter().map(|told| told.kind.as_str()).collect();
    assert!(
        kinds.contains(&"request.submitted") && kinds.contains(&"build.started"),
        "{kinds:?}"
    );
    let middle = all.len() / 2;
    let mut resumed = Reader::open(&site, "/api/v1/events?after=0", Some(&all[middle].id)).await;
    for told in &all[middle + 1..] {
        assert_eq!(resumed.next().await.as_ref(), Some(told));
    }
    let mut other = Reader::open(&site, "/api/v1/events?after=0&builder=windows", None).await;
    site.build("windows", "second").await;
    assert_eq!(other.next().await.unwrap().data["builder"], "windows");
    assert!(resumed.next().await.is_some());
}

#[tokio::test]
async fn the_end_of_the_server_ends_its_streams() {
    let site = Site::new().await;
    let (_, _, log) = site.build("linux", "x").await;
    let mut feed = Reader::open(&site, "/api/v1/events", None).await;
    let mut tail = Reader::open(&site, &format!("/api/v1/logs/{log}/follow"), None).await;
    site.shutdown.cancel();
    assert_eq!((feed.next().await, tail.next().await), (None, None));
}
