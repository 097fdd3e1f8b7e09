//! One durable step for all who wait for it at the same moment.

use super::lock;
use std::io;
use std::sync::{Arc, Condvar, Mutex, OnceLock};

/// Whoever comes while a turn is running takes part in the next one, which one of them carries out for all. Nobody
/// waits for company: where no turn is running, one begins at once.
#[derive(Debug, Default)]
pub(super) struct Group<P> {
    turns: Mutex<Turns<P>>,
    over: Condvar,
}

#[derive(Debug, Default)]
struct Turns<P> {
    running: bool,
    /// What the next turn is to carry out, and who waits for it.
    gathered: P,
    next: Arc<OnceLock<io::Result<()>>>,
}

impl<P: Default> Group<P> {
    /// Takes part in the next turn with what `add` puts into it; `act` carries the whole turn out, if it falls to this
    /// caller. It begins behind this call, and its failure is everybody's who took part. Blocks.
    pub(super) fn join(
        &self,
        add: impl FnOnce(&mut P),
        act: impl FnOnce(P) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut turns = lock(&self.turns);
        add(&mut turns.gathered);
        let mine = Arc::clone(&turns.next);
        loop {
            if let Some(outcome) = mine.get() {
                return outcome.as_ref().copied().map_err(again);
            }
            // What is not running and not over is the next one, so that it is mine.
            if !turns.running {
                break;
            }
            turns = self.over.wait(turns).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        turns.running = true;
        turns.next = Arc::default();
        let gathered = std::mem::take(&mut turns.gathered);
        drop(turns);
        let outcome = act(gathered);
        let mut turns = lock(&self.turns);
        turns.running = false;
        let _ = mine.set(outcome.as_ref().copied().map_err(again));
        self.over.notify_all();
        outcome
    }
}

/// The same error for one more.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const MANY: usize = 50;

    /// What each of many gets who all come while the first turn is running, and what the turns carried out.
    fn many(second: impl Fn() -> io::Result<()> + Sync) -> (Vec<io::Result<()>>, Vec<Vec<usize>>) {
        let (group, came) = (Group::<Vec<usize>>::default(), AtomicUsize::new(0));
        let done = Mutex::<Vec<Vec<usize>>>::default();
        let join = |who| {
            let add = |gathered: &mut Vec<usize>| {
                gathered.push(who);
                came.fetch_add(1, Ordering::SeqCst);
            };
            group.join(add, |gathered| {
                let first = lock(&done).is_empty();
                lock(&done).push(gathered);
                while first && came.load(Ordering::SeqCst) < MANY {
                    std::thread::yield_now();
                }
                if first { Ok(()) } else { second() }
            })
        };
        let join = &join;
        let outcomes = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..MANY).map(|who| scope.spawn(move || join(who))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        (outcomes, done.into_inner().unwrap())
    }

    #[test]
    fn all_who_come_during_a_turn_share_the_next_one() {
        let (outcomes, turns) = many(|| Ok(()));
        assert!(outcomes.iter().all(Result::is_ok));
        assert_eq!(turns.len(), 2, "{turns:?}");
        let mut all = turns.concat();
        all.sort_unstable();
        assert_eq!(all, (0..MANY).collect::<Vec<_>>(), "each one once");
    }

    #[test]
    fn a_turn_that_fails_fails_for_each_who_took_part_and_for_nobody_else() {
        let (outcomes, turns) = many(|| Err(io::Error::from_raw_os_error(5)));
        assert_eq!(turns.len(), 2);
        for (who, outcome) in outcomes.into_iter().enumerate() {
            let code = outcome.err().and_then(|error| error.raw_os_error());
            assert_eq!(code, turns[1].contains(&who).then_some(5), "{who}");
        }
    }
}
