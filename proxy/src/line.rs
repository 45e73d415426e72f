//! The line in which those stand who have more to do than is good for the others on their worker.
//!
//! A session that could go on after a slice of the worker's time ([`SLICE`]) stands in line. Whoever is first goes on
//! when the worker has looked for what came on all its sockets, and nobody else in line does before it has looked again:
//! however many are busy, and with whatever, the others wait for one slice.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

/// Of a worker's time, before others get theirs.
pub(crate) const SLICE: Duration = Duration::from_micros(100);

thread_local! {
    static LINE: Arc<Line> = Arc::default();
}

/// Whether one stands in line, and for whom that is to be known.
#[derive(Debug, Default)]
pub(crate) struct Place(Option<Arc<AtomicBool>>);

impl Place {
    /// Joins the end of this worker's line. The task is woken when its time has come; until then, [`Self::stands`].
    pub(crate) fn join(&mut self, waker: &Waker) {
        let standing = self.0.get_or_insert_default().clone();
        standing.store(true, Ordering::Relaxed);
        LINE.with(|line| line.join(Waiting { standing, waker: waker.clone() }));
    }

    pub(crate) fn stands(&self) -> bool {
        self.0.as_ref().is_some_and(|standing| standing.load(Ordering::Relaxed))
    }
}

/// `future`, each poll of which stands in line: it is worth no more of the worker's time than what takes a slice of it.
///
/// On the heap, and no `async fn`: that would have room for it twice.
pub(crate) fn in_turn<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let (mut future, mut place, mut waited) = (Box::pin(future), Place::default(), false);
    poll_fn(move |cx| {
        if place.stands() {
            return Poll::Pending;
        }
        if !std::mem::replace(&mut waited, true) {
            place.join(cx.waker());
            return Poll::Pending;
        }
        waited = false;
        future.as_mut().poll(cx)
    })
}

#[derive(Debug)]
struct Waiting {
    standing: Arc<AtomicBool>,
    waker: Waker,
}

impl Waiting {
    fn call(self) {
        self.standing.store(false, Ordering::Relaxed);
        self.waker.wake();
    }
}

#[derive(Debug, Default)]
struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Waiting>,
    /// Somebody calls those who wait.
    served: bool,
}

impl Line {
    fn join(self: &Arc<Self>, one: Waiting) {
        let mut state = self.state();
        state.waiting.push_back(one);
        let served = std::mem::replace(&mut state.served, true);
        // A runtime that is ending drops what is spawned at once, and that needs the state.
        drop(state);
        if !served {
            tokio::spawn(Usher(self.clone()).call_all());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls those in a line, as long as there are any.
struct Usher(Arc<Line>);

impl Usher {
    async fn call_all(self) {
        loop {
            // Resumes when no other task is ready, and the runtime has looked for what came.
            tokio::task::yield_now().await;
            let Some(next) = self.0.state().waiting.pop_front() else { return };
            next.call();
        }
    }
}

impl Drop for Usher {
    /// Whoever is in line now, as its runtime ends or has many threads, need not wait.
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.0.state());
        left.waiting.into_iter().for_each(Waiting::call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// Does `slices` slices of work, each told to `log`, and stands in line behind each.
    async fn busy(name: char, slices: usize, log: Rc<RefCell<String>>) {
        let (mut place, mut left) = (Place::default(), slices);
        poll_fn(|cx| {
            if place.stands() {
                return Poll::Pending;
            }
            log.borrow_mut().push(name);
            left -= 1;
            if left == 0 {
                return Poll::Ready(());
            }
            place.join(cx.waker());
            Poll::Pending
        })
        .await;
    }

    #[tokio::test]
    async fn who_is_busy_goes_on_in_turn_one_slice_at_a_time() {
        let log = Rc::new(RefCell::new(String::new()));
        tokio::join!(busy('a', 3, log.clone()), busy('b', 2, log.clone()), busy('c', 1, log.clone()));
        assert_eq!(*log.borrow(), "abcaba");
    }

    #[tokio::test]
    async fn between_two_slices_the_others_have_their_turn() {
        let tasks = tokio::task::LocalSet::new();
        let log = Rc::new(RefCell::new(String::new()));
        let others = log.clone();
        tasks.spawn_local(busy('a', 4, log.clone()));
        tasks.spawn_local(busy('b', 4, log.clone()));
        tasks.spawn_local(async move {
            for _ in 0..12 {
                others.borrow_mut().push('.');
                tokio::task::yield_now().await;
            }
        });
        tasks.await;
        let busy_at_a_time = log.borrow().split('.').map(str::len).max();
        assert!(busy_at_a_time <= Some(2), "{}", log.borrow());
    }

    #[tokio::test]
    async fn a_future_in_line_gets_what_woke_it_meanwhile() {
        let (say, mut hear) = tokio::sync::mpsc::channel(1);
        let heard = tokio::spawn(in_turn(async move {
            let mut heard = Vec::new();
            while let Some(number) = hear.recv().await {
                heard.push(number);
            }
            heard
        }));
        for number in 0..5 {
            say.send(number).await.unwrap();
        }
        drop(say);
        assert_eq!(heard.await.unwrap(), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_line_outlives_the_runtime_that_served_it() {
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut place = Place::default();
            runtime.block_on(async { place.join(Waker::noop()) });
            assert!(place.stands());
            drop(runtime);
            assert!(!place.stands());
        }
    }
}
