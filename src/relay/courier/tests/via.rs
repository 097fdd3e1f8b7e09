//! Everything by way of one server, `relay.via`.

use super::street::Authority;
use super::*;

/// Goes by way of `relay.via = "<host>:<port>"`, with a login if there is a password.
async fn by_way_of(host: &str, port: u16, authority: &Authority, login: Option<&str>) -> (Scene, Trip) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), login.unwrap_or_default()).unwrap();
    let names = Names::new(&["isp.test A 127.0.0.1", "isp.test MX 10 nowhere.test"]);
    let scene = Scene::with(names, 1, |config| {
        config.allow_private = false;
        config.via = Some(format!("{host}:{port}"));
        config.roots = authority.file();
        if login.is_some() {
            config.user = Some("me".into());
            config.password_file = Some(file.path().to_owned());
        }
    })
    .await;
    // The recipients' domain has no MX here, and is not asked for one.
    let trip = scene.go().await;
    (scene, trip)
}

/// `\0me\0secret`.
const RIGHT: &str = "AUTH PLAIN AG1lAHNlY3JldA==";

fn isp() -> Server {
    Server::new().offers("AUTH PLAIN LOGIN").says(RIGHT, "235 2.7.0 welcome").says("AUTH", "535 5.7.8 who?")
}

#[tokio::test]
async fn everything_goes_to_the_one_server_after_a_login_under_tls() {
    let authority = Authority::new();
    let server = isp().starttls(&authority.issue("isp.test"));
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let (scene, trip) = by_way_of("isp.test", port, &authority, Some("secret\n")).await;
    assert_fate(&trip, &["delivered to isp.test [127.0.0.1]", ", verified)"]);
    assert!(server.lines().contains(&RIGHT.to_owned()));
    let (Found::Plan(one), Found::Plan(two)) =
        (scene.found("x.test").await, scene.found("[192.0.2.1]").await)
    else {
        panic!("no plan")
    };
    assert_eq!(one.key(), two.key(), "all destinations are one");
}

#[tokio::test]
async fn a_password_goes_only_to_who_is_certainly_meant() {
    let (known, unknown) = (Authority::new(), Authority::new());
    for server in
        [isp(), isp().starttls(&unknown.issue("isp.test")), isp().starttls(&known.issue("other.test"))]
    {
        let port = street::open(&[("127.0.0.1", &server)]).await;
        let (_, trip) = by_way_of("isp.test", port, &known, Some("secret")).await;
        assert_fate(&trip, &["deferred: ", "a password goes only to a server with a right certificate"]);
        assert!(!server.lines().iter().any(|line| line.starts_with("AUTH")), "{:?}", server.lines());
    }
}

#[tokio::test]
async fn what_it_has_against_us_is_no_letters_end() {
    let authority = Authority::new();
    let certificate = authority.issue("isp.test");
    let server = isp().starttls(&certificate);
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let (_, trip) = by_way_of("isp.test", port, &authority, Some("wrong")).await;
    assert_fate(&trip, &["deferred: ", "535 5.7.8 who?"]);
    assert!(trip.unreachable.is_some_and(|why| !why.contains("wrong")));
    let server = isp().says("", "554 5.7.1 not you");
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let (_, trip) = by_way_of("isp.test", port, &authority, None).await;
    assert_fate(&trip, &["deferred: ", "which is relay.via, refuses us: 554 5.7.1 not you"]);
    let (_, trip) = by_way_of("isp.test", port, &authority, Some("")).await;
    assert_fate(&trip, &["deferred: relay.password_file ", "its first line is empty"]);
    let server = isp().says("MAIL", "530 5.7.0 Authentication required");
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let (_, trip) = by_way_of("isp.test", port, &authority, None).await;
    assert_fate(
        &trip,
        &["deferred: isp.test", "530 5.7.0 Authentication required (relay.via wants a login: set "],
    );
}

#[tokio::test]
async fn without_a_login_it_is_a_server_like_any_other() {
    let authority = Authority::new();
    let server = Server::new();
    let port = street::open(&[("127.0.0.1", &server)]).await;
    for host in ["isp.test", "127.0.0.1"] {
        let (_, trip) = by_way_of(host, port, &authority, None).await;
        assert_fate(&trip, &["delivered to ", "127.0.0.1]: 250", "(clear: not offered)"]);
    }
    let server = Server::new().says("RCPT", "550 5.1.1 no such user");
    let port = street::open(&[("127.0.0.1", &server)]).await;
    let (_, trip) = by_way_of("isp.test", port, &authority, None).await;
    assert_fate(&trip, &["failed: isp.test: 550 5.1.1 no such user"]);
}
