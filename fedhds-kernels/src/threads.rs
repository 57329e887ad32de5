//! Loops over rayon's threads whose pieces do not depend on their number.

use rayon::prelude::*;

/// Values that one thread works on at least, where it does little with each.
pub(crate) const LIGHT: usize = 1 << 14;

/// Values up to which one thread works alone.
const ALONE: usize = 4 * LIGHT;

/// Rows of `width` values that make a piece of light work.
pub(crate) fn light_rows(width: usize) -> usize {
    (LIGHT / width.max(1)).max(1)
}

/// Multiplications that are worth waking other threads for: about as long as that takes them.
const WORTH: usize = 1 << 21;

/// Calls `work` for every number below `count`, which take about so many multiplications together.
pub(crate) fn each(count: usize, multiplications: usize, work: impl Fn(usize) + Sync) {
    if count <= 1 || multiplications < WORTH || rayon::current_num_threads() == 1 {
        (0..count).for_each(work);
    } else {
        (0..count).into_par_iter().with_max_len(1).for_each(&work);
    }
}

/// Calls `work` on each part of `size` values with its number.
pub(crate) fn parts<T: Send>(values: &mut [T], size: usize, work: impl Fn(usize, &mut [T]) + Sync) {
    let size = size.max(1);
    if values.len() <= size.max(ALONE) || rayon::current_num_threads() == 1 {
        values.chunks_mut(size).enumerate().for_each(|(i, part)| work(i, part));
    } else {
        values.par_chunks_mut(size).enumerate().for_each(|(i, part)| work(i, part));
    }
}

/// A matrix that several threads write to, each in places of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared {
    start: *mut f32,
    len: usize,
}

// SAFETY: whoever writes does so through `slice`, whose caller answers for disjoint places.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(values: &mut [f32]) -> Self {
        Self { start: values.as_mut_ptr(), len: values.len() }
    }

    /// `count` values from place `at` on.
    ///
    /// # Safety
    /// The slice that this was made of is still borrowed, and no two slices that live at the same time overlap.
    pub(crate) unsafe fn slice<'a>(self, at: usize, count: usize) -> &'a mut [f32] {
        assert!(at <= self.len && count <= self.len - at);
        // SAFETY: within the slice, as was just asked; the caller answers for the rest.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(at), count) }
    }

    /// The place `at`, for a product that writes rows of a longer matrix.
    ///
    /// # Safety
    /// As of [`slice`](Self::slice), for every place that the product writes; `last` is the last of them.
    pub(crate) unsafe fn pointer(self, at: usize, last: usize) -> *mut f32 {
        assert!(at <= last && last < self.len);
        // SAFETY: within the slice.
        unsafe { self.start.add(at) }
    }
}
