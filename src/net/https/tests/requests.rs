//! Requests for whole URLs.

use super::{LIMIT, MINUTE, town};
use crate::net::https::{Answer, Https, HttpsError};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;

async fn post(https: &Https, url: &str) -> Result<Answer, HttpsError> {
    let request = Request::post(url).header("X-Other", "kept").body(Full::new(Bytes::from("body")));
    https.send(request.unwrap(), LIMIT, MINUTE).await
}

#[tokio::test]
async fn any_status_is_an_answer_with_its_header() {
    let (_authority, site, https) = town().await;
    // Its own port is another's.
    let https = Https { port: 1, ..https };
    let url = format!("https://www.test:{}/a?b=c", site.port);
    for code in [200, 201, 302, 400, 429, 503] {
        site.say(&format!("HTTP/1.1 {code} Words\nRetry-After: 7\nContent-Length: 5"), "hello");
        let answer = post(&https, &url).await.unwrap();
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (code, &b"hello"[..]));
        assert_eq!(answer.headers["retry-after"], "7");
    }
    let request = site.requests().remove(0).to_lowercase();
    assert!(request.starts_with("post /a?b=c http/1.1\r\n"), "{request}");
    for field in [&format!("host: www.test:{}", site.port), "x-other: kept", "connection: close"] {
        assert!(request.contains(&format!("\r\n{field}\r\n")), "{field}: {request}");
    }
}

#[tokio::test]
async fn a_body_without_an_end_and_a_host_with_another_certificate_are_no_answers() {
    let (_authority, site, https) = town().await;
    site.say(&format!("HTTP/1.1 200 OK\nContent-Length: {}", LIMIT + 1), &"x".repeat(LIMIT + 1));
    let error = post(&https, &format!("https://www.test:{}/", site.port)).await.unwrap_err();
    assert!(error.0.contains("limit"), "{error}");
    // By its address it is found, and its certificate is for the name.
    let error = post(&https, &format!("https://127.0.0.1:{}/", site.port)).await.unwrap_err();
    assert!(error.0.contains("certificate"), "{error}");
    assert_eq!(site.requests().len(), 1);
}

#[tokio::test]
async fn only_https_and_only_hosts_that_can_be() {
    let (_authority, site, https) = town().await;
    for url in [&format!("http://www.test:{}/", site.port), "/path", "https://www_.test/", "www.test:443"] {
        let error = post(&https, url).await.unwrap_err();
        assert!(error.0.contains(": "), "{url}: {error}");
    }
    assert!(site.requests().is_empty());
}
