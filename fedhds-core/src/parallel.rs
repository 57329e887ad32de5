//! Several pieces of work at once, each on a thread of its own: clients of a round, batches of an evaluation.
//!
//! Not rayon's shared threads: a stage's own parallel loops run there, and a thread that waits for one would begin another client's
//! whole training in the middle of the first, holding whatever the first holds. Each worker has a rayon pool of its own share of the
//! threads instead: with one thread each, loops run where they stand, which is faster than two workers that share two threads.

use crate::error::Result;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};

/// Room for a stage's frames; the main thread's size on most systems.
const STACK: usize = 8 << 20;

/// Does `work` on every item, at most `workers` at a time, and hands each result with its index to `done` on the calling thread, in
/// the order in which they end. One worker is the calling thread itself, in the order of the items.
///
/// # Errors
/// Of the errors that came up, that of the first item. After one, no further item is begun.
pub(crate) fn each<T: Send, R: Send>(
    workers: usize,
    items: &mut [T],
    work: impl Fn(&mut T) -> Result<R> + Sync,
    mut done: impl FnMut(usize, R) -> Result<()>,
) -> Result<()> {
    let workers = workers.min(items.len());
    if workers <= 1 {
        return items.iter_mut().enumerate().try_for_each(|(i, item)| done(i, work(item)?));
    }
    let threads = (rayon::current_num_threads() / workers).max(1);
    let queue = Mutex::new(items.iter_mut().enumerate());
    let stop = AtomicBool::new(false);
    let worker = &|results: mpsc::Sender<(usize, Result<R>)>| {
        while !stop.load(Ordering::Relaxed) {
            let Some((i, item)) = queue.lock().unwrap_or_else(PoisonError::into_inner).next() else { break };
            let result = work(item);
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
            if results.send((i, result)).is_err() {
                break;
            }
        }
    };
    let mut first: Option<(usize, crate::Error)> = None;
    std::thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        let mut started = 0;
        for _ in 0..workers {
            let sender = sender.clone();
            let thread = std::thread::Builder::new().name("fedhds worker".into()).stack_size(STACK);
            let share = move || rayon::ThreadPoolBuilder::new().num_threads(threads).stack_size(STACK).build();
            let run = move || match share() {
                Ok(pool) => pool.install(|| worker(sender)),
                Err(_) => worker(sender),
            };
            started += usize::from(thread.spawn_scoped(scope, run).is_ok());
        }
        if started == 0 {
            // A system that gives no threads: the calling thread does it all before it looks at the results.
            worker(sender);
        } else {
            drop(sender);
        }
        for (i, result) in results {
            let result = result.and_then(|value| if first.is_none() { done(i, value) } else { Ok(()) });
            if let Err(error) = result {
                stop.store(true, Ordering::Relaxed);
                if first.as_ref().is_none_or(|(at, _)| i < *at) {
                    first = Some((i, error));
                }
            }
        }
    });
    first.map_or(Ok(()), |(_, error)| Err(error))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn every_item_is_done_once_whatever_the_number_of_workers() {
        for workers in [0, 1, 2, 3, 9] {
            let mut items: Vec<usize> = (0..6).collect();
            let mut got = Vec::new();
            let result = each(
                workers,
                &mut items,
                |item| {
                    *item += 10;
                    Ok(*item)
                },
                |i, value| {
                    got.push((i, value));
                    Ok(())
                },
            );
            result.unwrap();
            got.sort_unstable();
            assert_eq!(got, (0..6).map(|i| (i, i + 10)).collect::<Vec<_>>());
            assert_eq!(items, (10..16).collect::<Vec<_>>());
        }
        each(3, &mut [] as &mut [u8], |_| Ok(()), |_, ()| Ok(())).unwrap();
    }

    #[test]
    fn so_many_are_at_work_at_once() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let both = std::sync::Barrier::new(2);
        let work = |_: &mut u8| {
            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            both.wait(); // ends only if a second one is at work
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        };
        each(2, &mut [0; 8], work, |_, ()| Ok(())).unwrap();
        assert_eq!(most.into_inner(), 2);
    }

    #[test]
    fn workers_share_the_threads() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(5).build().unwrap();
        for (workers, share) in [(1, 5), (2, 2), (5, 1), (8, 1)] {
            let work = |_: &mut u8| Ok(rayon::current_num_threads());
            pool.install(|| {
                each(workers, &mut [0; 9], work, |_, threads| {
                    assert_eq!(threads, share, "{workers} workers");
                    Ok(())
                })
            })
            .unwrap();
        }
    }

    #[test]
    fn an_error_ends_the_work() {
        let fail = |i: usize| Error::input("item", "another", i);
        for workers in [1, 2] {
            let begun = AtomicUsize::new(0);
            let work = |item: &mut usize| {
                begun.fetch_add(1, Ordering::SeqCst);
                if *item == 1 { Err(fail(*item)) } else { Ok(()) }
            };
            let mut items: Vec<usize> = (0..1000).collect();
            let error = each(workers, &mut items, work, |_, ()| Ok(())).unwrap_err().to_string();
            assert!(error.contains("got 1"), "{error}");
            assert!(begun.into_inner() < 1000);
            let error = each(workers, &mut items, |_| Ok(()), |i, ()| if i == 0 { Err(fail(i)) } else { Ok(()) });
            assert!(error.unwrap_err().to_string().contains("got 0"));
        }
    }
}
