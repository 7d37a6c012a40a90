//! Signing in, and the forms of those who have.

use super::*;

/// A form as a browser sends it from a page of this server.
fn form(path: &str) -> axum::http::request::Builder {
    request("POST", path)
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .header("sec-fetch-site", "same-origin")
}

async fn try_token(site: &Site, fields: &str) -> Response {
    let request = form("/sign-in").body(Body::from(fields.to_owned()));
    site.send(request.unwrap()).await
}

fn cookie_of(response: &Response) -> String {
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    cookie.split(';').next().unwrap().to_owned()
}

/// The cookie of a session.
pub(super) async fn sign_in(site: &Site) -> String {
    let response = try_token(site, &format!("token={TOKEN}")).await;
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    cookie_of(&response)
}

pub(super) async fn send_form(site: &Site, path: &str, cookie: &str, fields: &str) -> Response {
    let request = form(path).header(header::COOKIE, cookie);
    site.send(request.body(Body::from(fields.to_owned())).unwrap())
        .await
}

pub(super) async fn get_as(site: &Site, path: &str, cookie: &str) -> Response {
    let request = request("GET", path).header(header::COOKIE, cookie);
    site.send(request.body(Body::empty()).unwrap()).await
}

pub(super) fn location(response: &Response) -> &str {
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    response.headers()[header::LOCATION].to_str().unwrap()
}

#[tokio::test]
async fn the_token_opens_a_session_and_leads_back() {
    let site = Site::new().await;
    let page = site.page("/sign-in?next=%2Fbuilders%2Flinux%3Fpage%3D2").await;
    assert!(
        page.contains(r#"data-page="sign-in""#)
            && page.contains(r#"name="next" value="/builders/linux?page=2""#),
        "{page}"
    );
    let response = try_token(&site, &format!("token=+{TOKEN}%0A&next=/builders/linux%3Fpage=2")).await;
    assert_eq!(location(&response), "/builders/linux?page=2");
    let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(
        cookie.starts_with("capstan-8010="),
        "the port tells farms on one machine apart: {cookie}"
    );
    // The farm's public address is an https one.
    assert!(
        cookie.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict; Secure"),
        "{cookie}"
    );
    let cookie = cookie_of(&response);
    let home = text(get_as(&site, "/", &cookie).await).await;
    assert!(home.contains("Sign out") && !home.contains("Sign in"), "{home}");
    assert_eq!(
        location(&get_as(&site, "/sign-in?next=/workers", &cookie).await),
        "/workers"
    );
    let out = send_form(&site, "/sign-out", &cookie, "").await;
    assert_eq!(location(&out), "/");
    assert!(
        out.headers()[header::SET_COOKIE]
            .to_str()
            .unwrap()
            .starts_with("capstan-8010=; Path=/; Max-Age=0;")
    );
    let home = site.page("/").await;
    assert!(home.contains("Sign in") && !home.contains("Sign out"), "{home}");
}

#[tokio::test]
async fn who_comes_without_a_way_back_goes_where_the_link_was() {
    let site = Site::new().await;
    let came = |from: &str| {
        request("GET", "/sign-in")
            .header(header::REFERER, from)
            .body(Body::empty())
            .unwrap()
    };
    let page = text(site.send(came("http://127.0.0.1:8010/workers/w1")).await).await;
    assert!(page.contains(r#"name="next" value="/workers/w1""#), "{page}");
    let page = text(site.send(came("http://127.0.0.1:8010/sign-in?next=/x")).await).await;
    assert!(page.contains(r#"name="next" value="/""#), "{page}");
}

#[tokio::test]
async fn signing_in_never_leads_to_another_server() {
    let site = Site::new().await;
    for next in [
        "//evil.example",
        "https://evil.example/",
        "/\\evil.example",
        "/%09/evil.example",
        "/%0d%0aset-cookie:x",
        "evil",
        "javascript:alert(1)",
        "",
    ] {
        let response = try_token(&site, &format!("token={TOKEN}&next={next}")).await;
        assert_eq!(location(&response), "/", "{next}");
        let page = site
            .page(&format!("/sign-in?next={}", next.replace('\\', "%5C")))
            .await;
        assert!(page.contains(r#"name="next" value="/""#), "{next}: {page}");
    }
}

#[tokio::test]
async fn a_wrong_token_is_said_beside_the_field_and_cannot_be_guessed_fast() {
    let site = Site::new().await;
    let router = site.router();
    let guess = async |token: &str| {
        let request = form("/sign-in").body(Body::from(format!("token={token}&next=/workers")));
        router.clone().oneshot(request.unwrap()).await.unwrap()
    };
    for token in ["x", "", "correct-horse-battery"] {
        let response = guess(token).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{token}");
        assert!(!response.headers().contains_key(header::SET_COOKIE));
        let page = text(response).await;
        assert!(
            page.contains(r#"id="token-error" data-field="token""#)
                && page.contains(r#"aria-invalid="true""#)
        );
        assert!(page.contains(r#"name="next" value="/workers""#));
        assert!(
            token.is_empty() || !page.contains(&format!("\"{token}\"")),
            "{page}"
        );
    }
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(guess("x").await.status());
    }
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
    assert_eq!(
        guess(TOKEN).await.status(),
        StatusCode::TOO_MANY_REQUESTS,
        "an answer now would tell a right guess from a wrong one"
    );
}

#[tokio::test]
async fn forms_of_foreign_pages_are_refused() {
    let site = Site::new().await;
    let cookie = sign_in(&site).await;
    let paths = ["/builders/linux/force", "/sign-in", "/sign-out"];
    for path in paths {
        for (name, value) in [
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
            ("sec-fetch-site", "none"),
            ("origin", "null"),
            ("origin", "https://evil.example"),
            ("origin", "http://127.0.0.1:9999"),
            ("origin", "https://ci.example.org.evil.example"),
            ("x-nothing", "said"),
        ] {
            let foreign = request("POST", path)
                .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
                .header(header::COOKIE, &cookie)
                .header(name, value);
            let response = site.send(foreign.body(Body::empty()).unwrap()).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path} {name}: {value}");
            assert!(!response.headers().contains_key(header::SET_COOKIE));
            assert!(
                text(response).await.contains("found one from elsewhere"),
                "{path}"
            );
        }
    }
    assert!(site.asked().is_empty());
    for origin in ["http://127.0.0.1:8010", "https://ci.example.org"] {
        let own = request("POST", "/sign-out").header(header::ORIGIN, origin);
        assert_eq!(
            site.send(own.body(Body::empty()).unwrap()).await.status(),
            StatusCode::SEE_OTHER,
            "{origin}"
        );
    }
}

#[tokio::test]
async fn a_session_is_for_pages_and_no_token_for_programs() {
    let site = Site::new().await;
    let cookie = sign_in(&site).await;
    let force = form("/api/v1/builders/linux/force").header(header::COOKIE, &cookie);
    assert_eq!(
        site.send(force.body(Body::empty()).unwrap()).await.status(),
        StatusCode::UNAUTHORIZED
    );
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn from_other_machines_a_browser_is_shown_the_way_in() {
    let site = Site {
        listen: "192.0.2.1:8010".parse().unwrap(),
        ..Site::new().await
    };
    let browse = |path: &str| {
        request("GET", path)
            .header(header::ACCEPT, "text/html,*/*;q=0.8")
            .body(Body::empty())
            .unwrap()
    };
    assert_eq!(
        location(&site.send(browse("/workers/w1?before=5")).await),
        "/sign-in?next=%2Fworkers%2Fw1%3Fbefore%3D5"
    );
    for path in ["/sign-in", "/assets/style.css"] {
        assert_eq!(site.send(browse(path)).await.status(), StatusCode::OK, "{path}");
    }
    let api = site.send(browse("/api/v1/builds")).await;
    assert_eq!(api.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(site.get("/live?after=0").await.status(), StatusCode::UNAUTHORIZED);
    let cookie = sign_in(&site).await;
    for path in ["/", "/api/v1/builds"] {
        assert_eq!(
            get_as(&site, path, &cookie).await.status(),
            StatusCode::OK,
            "{path}"
        );
    }
    let forged = cookie.replace("capstan-8010=1", "capstan-8010=2");
    assert_eq!(
        get_as(&site, "/", &forged).await.status(),
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_build_is_asked_for_with_a_form() {
    let site = Site::with(&["linux/x"]).await;
    let cookie = sign_in(&site).await;
    let page = text(get_as(&site, "/builders/linux%2Fx/force?branch=dev", &cookie).await).await;
    assert!(
        page.contains(r#"data-page="force""#) && page.contains(r#"name="branch" value="dev""#),
        "{page}"
    );
    assert!(!page.contains("disabled"), "{page}");
    let fields = "branch=main&revision=&repository=&codebase=&reason=try+%26+see&priority=+7+&properties=\
                  jobs%3D4%0D%0Aname%3Dlong+text%0D%0A%0D%0Aflags%3D%5B%22a%3Db%22%5D%0D%0Aempty%3D";
    let response = send_form(&site, "/builders/linux%2Fx/force", &cookie, fields).await;
    assert_eq!(location(&response), "/requests/6");
    insta::assert_snapshot!(site.asked().join("\n"), @r#"force linux/x {"branch":"main","revision":null,"repository":"","codebase":"","reason":"try & see","properties":{"empty":"","flags":["a=b"],"jobs":4,"name":"long text"},"priority":7}"#);
}

#[tokio::test]
async fn what_is_wrong_with_a_form_is_said_beside_the_field() {
    let site = Site::with(&["linux/x"]).await;
    let cookie = sign_in(&site).await;
    for (fields, field, reason) in [
        ("priority=high", "priority", "expected a whole number"),
        ("priority=99999999999", "priority", "expected a whole number"),
        ("properties=a", "properties", "expected name=value in line 1"),
        ("properties=a=1%0Aa=2", "properties", "again in line 2"),
        ("properties=%3D1", "properties", "expected a name before"),
        ("branch=--upload-pack%3Dx", "branch", "take for an option"),
        ("revision=a%00b", "revision", "without control characters"),
        ("codebase=-x", "codebase", "take for an option"),
        ("repository=-x", "repository", "take for an option"),
    ] {
        let fields = format!("{fields}&reason=%22%3E%3Cscript%3E");
        let response = send_form(&site, "/builders/linux%2Fx/force", &cookie, &fields).await;
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY, "{fields}");
        let page = text(response).await;
        let error = format!(r#"<p class="error" id="{field}-error" data-field="{field}">{reason}"#);
        let found = page.contains(&error)
            || page
                .split_once(&format!(r#"data-field="{field}">"#))
                .is_some_and(|(_, rest)| rest.split('<').next().unwrap().contains(reason));
        assert!(found, "{fields}: {page}");
        assert_eq!(page.matches("class=\"error\"").count(), 1, "{page}");
        assert_eq!(page.matches(r#"aria-invalid="true""#).count(), 1, "{page}");
        assert!(
            page.contains(&format!(r#"aria-describedby="{field}-hint {field}-error""#)),
            "{page}"
        );
        assert!(
            page.contains(r#"value="&#34;&#62;&#60;script&#62;""#),
            "what was typed stays, as text: {page}"
        );
    }
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn asking_for_a_build_needs_a_builder_and_a_session() {
    let site = Site::with(&["linux/x"]).await;
    let cookie = sign_in(&site).await;
    for response in [
        get_as(&site, "/builders/nothing/force", &cookie).await,
        send_form(&site, "/builders/nothing/force", &cookie, "").await,
    ] {
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(text(response).await.contains("there is no builder `nothing`"));
    }
    let page = site.page("/builders/linux%2Fx/force?branch=a%26b").await;
    let back = "/sign-in?next=%2Fbuilders%2Flinux%252Fx%2Fforce%3Fbranch%3Da%2526b";
    assert!(page.contains(&format!(r#"href="{back}""#)), "{page}");
    let other = cookie.replace("capstan-8010", "capstan-8011");
    let response = send_form(&site, "/builders/linux%2Fx/force", &other, "reason=typed").await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    let page = text(response).await;
    assert!(
        page.contains(r#"name="reason" value="typed""#) && page.contains("sign in"),
        "{page}"
    );
    assert!(site.asked().is_empty());
}

#[tokio::test]
async fn a_form_starts_with_where_the_last_build_came_from() {
    let site = Site::with(&["linux/x"]).await;
    site.build("linux/x", "nightly").await;
    let page = site.page("/builders/linux%2Fx/force").await;
    assert!(page.contains(r#"name="branch" value="main""#), "{page}");
    let page = site.page("/builders/linux%2Fx/force?revision=abc").await;
    assert!(
        page.contains(r#"name="branch" value="""#) && page.contains(r#"name="revision" value="abc""#),
        "the last build's branch may not have it: {page}"
    );
}
