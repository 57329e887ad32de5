//! Buffers that are used again: memory that comes fresh from the system is cleared page by page, which costs as much as a tenth of a
//! pass.

use std::cell::RefCell;

#[derive(Default)]
struct Pool {
    /// Scopes that are open.
    depth: usize,
    free: Vec<Vec<f32>>,
}

thread_local!(static POOL: RefCell<Pool> = RefCell::default());

/// Runs `work`; buffers that are given back on this thread meanwhile are kept until its end, and handed out again.
pub fn scope<R>(work: impl FnOnce() -> R) -> R {
    struct Open;
    impl Drop for Open {
        fn drop(&mut self) {
            POOL.with_borrow_mut(|pool| {
                pool.depth -= 1;
                if pool.depth == 0 {
                    pool.free = Vec::new();
                }
            });
        }
    }
    POOL.with_borrow_mut(|pool| pool.depth += 1);
    let _open = Open;
    work()
}

/// A buffer of so many values, whatever they are: for who writes them all.
pub fn take(len: usize) -> Vec<f32> {
    let best = POOL.with_borrow_mut(|pool| {
        let fits = pool.free.iter().enumerate().filter(|(_, buffer)| buffer.capacity() >= len);
        // The smallest that fits, and none that is far too large.
        let (at, _) = fits.min_by_key(|(_, buffer)| buffer.capacity()).filter(|(_, b)| b.capacity() / 4 <= len)?;
        Some(pool.free.swap_remove(at))
    });
    match best {
        None => vec![0.0; len],
        Some(mut buffer) => {
            buffer.resize(len, 0.0);
            buffer
        }
    }
}

/// A buffer of so many zeros.
pub fn zeros(len: usize) -> Vec<f32> {
    let mut buffer = take(len);
    buffer.fill(0.0);
    buffer
}

/// Gives a buffer back; outside of a [`scope`] it is dropped.
pub fn give(buffer: Vec<f32>) {
    POOL.with_borrow_mut(|pool| {
        if pool.depth > 0 && buffer.capacity() > 0 {
            pool.free.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_within_a_scope_alone() {
        let mut first = vec![7.0; 100];
        let place = first.as_ptr();
        scope(|| {
            scope(|| give(std::mem::take(&mut first)));
            let small = take(20);
            assert!(small.as_ptr() != place, "far too large");
            let again = take(90);
            assert_eq!((again.as_ptr(), again.len(), again[3]), (place, 90, 7.0));
            give(again);
            assert!(zeros(100).iter().all(|&value| value == 0.0));
        });
        POOL.with_borrow(|pool| assert!(pool.free.is_empty() && pool.depth == 0));
        give(vec![1.0; 10]);
        POOL.with_borrow(|pool| assert!(pool.free.is_empty()));
    }
}
