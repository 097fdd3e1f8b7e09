//! Somebody else's server.

use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// `RCPT` lines and text.
pub(super) type Letter = (Vec<String>, String);

/// A stranger's MX: refuses recipients that begin with `no`, defers those that begin with `later`.
#[derive(Clone, Default)]
pub(super) struct Stranger {
    pub(super) letters: Arc<Mutex<Vec<Letter>>>,
    pub(super) connections: Arc<Mutex<usize>>,
    /// Connections that are open, and the most that were.
    pub(super) open: Arc<Mutex<(usize, usize)>>,
    /// What DATA waits for, if anything.
    pub(super) gate: Option<Arc<tokio::sync::Semaphore>>,
}

impl Stranger {
    pub(super) async fn listen(&self) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stranger = self.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *stranger.connections.lock().unwrap() += 1;
                let one = stranger.clone();
                tokio::spawn(async move {
                    let now = {
                        let mut open = one.open.lock().unwrap();
                        open.0 += 1;
                        open.1 = open.1.max(open.0);
                        Arc::clone(&one.open)
                    };
                    one.talk(stream).await;
                    now.lock().unwrap().0 -= 1;
                });
            }
        });
        port
    }

    async fn talk(self, stream: tokio::net::TcpStream) {
        let (read, mut write) = stream.into_split();
        let mut lines = BufReader::new(read).lines();
        let mut to = Vec::new();
        write.write_all(b"220 mx.there.test\r\n").await.unwrap();
        while let Ok(Some(line)) = lines.next_line().await {
            let reply = match line.split([' ', ':']).next().unwrap_or_default() {
                "RCPT" if line.contains("<no") => "550 5.1.1 no such user",
                "RCPT" if line.contains("<later") => "451 4.7.1 greylisted",
                "RCPT" => {
                    to.push(line.clone());
                    "250 ok"
                }
                "DATA" if to.is_empty() => "554 no recipients",
                "DATA" => {
                    if let Some(gate) = &self.gate {
                        gate.acquire().await.unwrap().forget();
                    }
                    write.write_all(b"354 go\r\n").await.unwrap();
                    let mut text = String::new();
                    while let Ok(Some(line)) = lines.next_line().await
                        && line != "."
                    {
                        text.push_str(&line);
                        text.push('\n');
                    }
                    self.letters.lock().unwrap().push((std::mem::take(&mut to), text));
                    "250 2.0.0 taken"
                }
                "QUIT" => break,
                _ => "250 ok",
            };
            write.write_all(format!("{reply}\r\n").as_bytes()).await.unwrap();
        }
    }

    pub(super) fn letters(&self) -> Vec<Letter> {
        self.letters.lock().unwrap().clone()
    }
}
