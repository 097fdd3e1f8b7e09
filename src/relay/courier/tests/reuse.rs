//! Several letters over one connection.

use super::*;

async fn scene(server: &Server) -> Scene {
    let port = street::open(&[("127.0.0.1", server)]).await;
    Scene::new(Names::new(&["there.test A 127.0.0.1"]), port).await
}

#[tokio::test]
async fn the_next_letter_goes_over_the_same_connection() {
    let server = Server::new();
    let scene = scene(&server).await;
    let mut courier = None;
    for _ in 0..3 {
        let trip = scene.go_by(courier).await;
        assert_fate(&trip, &["delivered to there.test [127.0.0.1]"]);
        courier = trip.courier;
    }
    assert_eq!((server.connections(), server.letters()), (1, 3));
    courier.unwrap().dismiss().await;
    server.hears("QUIT").await;
    let hellos = server.lines().iter().filter(|line| line.starts_with("EHLO")).count();
    assert_eq!(hellos, 1);
}

#[tokio::test]
async fn a_connection_that_died_meanwhile_is_made_anew_and_nothing_is_doubled() {
    for end in ["CLOSE", "RESET", "421 4.4.2 idle for too long"] {
        let server = Server::new().afterwards("MAIL", end);
        let scene = scene(&server).await;
        let trip = scene.go().await;
        assert!(trip.courier.is_some(), "{end}");
        let trip = scene.go_by(trip.courier).await;
        assert_fate(&trip, &["delivered to there.test [127.0.0.1]"]);
        assert_eq!((server.connections(), server.letters()), (2, 2), "{end}");
    }
}

#[tokio::test]
async fn a_connection_that_dies_behind_the_dot_is_no_reason_to_send_again() {
    let server = Server::new().afterwards(".", "CLOSE");
    let scene = scene(&server).await;
    let trip = scene.go().await;
    let trip = scene.go_by(trip.courier).await;
    assert_fate(&trip, &["deferred: there.test: "]);
    assert_eq!((server.connections(), server.letters()), (1, 2));
}

#[tokio::test]
async fn who_puts_the_next_letter_off_is_not_asked_again_at_once() {
    let server = Server::new().afterwards("MAIL", "451 4.7.1 slowly");
    let scene = scene(&server).await;
    let trip = scene.go().await;
    let trip = scene.go_by(trip.courier).await;
    assert_fate(&trip, &["deferred: there.test: ", "451 4.7.1 slowly"]);
    assert!(trip.courier.is_some() && trip.unreachable.is_none());
    assert_eq!((server.connections(), server.letters()), (1, 1));
}
