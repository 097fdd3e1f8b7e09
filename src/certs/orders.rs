//! What the owner asks of a running server about its certificates.

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

/// Orders that may wait.
const WAITING: usize = 4;

/// What came of an order, for one name or one pair of files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The name, or the file.
    pub what: String,
    /// Whether what is shown is as new as can be.
    pub good: bool,
    /// What happened, a sentence.
    pub said: String,
}

/// Where orders are given. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Renewals(mpsc::Sender<oneshot::Sender<Vec<Outcome>>>);

/// Where they arrive.
#[derive(Debug)]
pub struct Orders(mpsc::Receiver<oneshot::Sender<Vec<Outcome>>>);

/// One order: to renew now, whatever the schedule says.
#[derive(Debug)]
pub struct Order(oneshot::Sender<Vec<Outcome>>);

/// Both ends.
pub fn channel() -> (Renewals, Orders) {
    let (send, receive) = mpsc::channel(WAITING);
    (Renewals(send), Orders(receive))
}

impl Renewals {
    /// Renews now, or reads the files again; none: nobody is there who could, or too much waits already.
    pub async fn renew(&self) -> Option<Vec<Outcome>> {
        let (send, receive) = oneshot::channel();
        self.0.try_send(send).ok()?;
        receive.await.ok()
    }
}

impl Orders {
    /// An order that is there already. One whose giver has gone is none: whoever broke off and asked again means it once.
    pub fn waiting(&mut self) -> Option<Order> {
        loop {
            let send = self.0.try_recv().ok()?;
            if !send.is_closed() {
                return Some(Order(send));
            }
        }
    }

    /// The next order, likewise. Without anybody who could give one, it waits for ever.
    pub async fn next(&mut self) -> Order {
        loop {
            match self.0.recv().await {
                Some(send) if send.is_closed() => {}
                Some(send) => return Order(send),
                None => std::future::pending().await,
            }
        }
    }
}

impl Order {
    /// Says what came of it.
    pub fn answer(self, outcomes: Vec<Outcome>) {
        // Whoever asked may have gone.
        let _ = self.0.send(outcomes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    #[tokio::test]
    async fn an_order_whose_giver_has_gone_is_none() {
        let (renewals, mut orders) = channel();
        let soon = Duration::from_millis(1);
        for _ in 0..2 {
            timeout(soon, renewals.renew()).await.unwrap_err();
        }
        assert!(orders.waiting().is_none());
        timeout(soon, renewals.renew()).await.unwrap_err();
        let there = tokio::spawn(async move { renewals.renew().await });
        orders.next().await.answer(Vec::new());
        assert_eq!(there.await.unwrap(), Some(Vec::new()));
    }
}
