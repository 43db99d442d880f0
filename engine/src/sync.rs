//! What threads share. A build with `--cfg tapgate_loom` takes loom's of them all, which plays every order of their steps
//! (`make loom`).

#[cfg(not(tapgate_loom))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::thread;

    use crossbeam::atomic::AtomicCell;

    /// A place for one boxed value, taken and filled in one step.
    pub(crate) struct Place<T>(AtomicCell<Option<Box<T>>>);

    impl<T> Place<T> {
        const IS_ONE_POINTER: () = assert!(AtomicCell::<Option<Box<T>>>::is_lock_free(), "a place is one pointer");

        pub(crate) fn empty() -> Place<T> {
            let () = Place::<T>::IS_ONE_POINTER;
            Place(AtomicCell::new(None))
        }

        pub(crate) fn take(&self) -> Option<Box<T>> {
            self.0.take()
        }

        pub(crate) fn swap(&self, value: Option<Box<T>>) -> Option<Box<T>> {
            self.0.swap(value)
        }
    }

    /// Sequentially consistent accesses on both sides of it need no fence.
    #[inline]
    pub(crate) fn fence_of_accesses() {}

    /// Parks for a moment at most.
    #[expect(clippy::disallowed_methods, reason = "only the journal's thread rests")]
    pub(crate) fn park_for(moment: std::time::Duration) {
        thread::park_timeout(moment);
    }
}

#[cfg(tapgate_loom)]
mod model {
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use loom::thread;

    /// loom sees no `AtomicCell`: a lock is as atomic.
    pub(crate) struct Place<T>(Mutex<Option<Box<T>>>);

    impl<T> Place<T> {
        pub(crate) fn empty() -> Place<T> {
            Place(Mutex::new(None))
        }

        pub(crate) fn take(&self) -> Option<Box<T>> {
            self.swap(None)
        }

        #[expect(clippy::unwrap_used, reason = "a model that panics has found something")]
        pub(crate) fn swap(&self, value: Option<Box<T>>) -> Option<Box<T>> {
            std::mem::replace(&mut *self.0.lock().unwrap(), value)
        }
    }

    /// loom takes sequentially consistent accesses for acquire and release, and a fence for what it is.
    pub(crate) fn fence_of_accesses() {
        fence(Ordering::SeqCst);
    }

    /// Time does not pass in a model.
    pub(crate) fn park_for(_: std::time::Duration) {
        thread::yield_now();
    }
}

#[cfg(tapgate_loom)]
pub(crate) use model::*;
#[cfg(not(tapgate_loom))]
pub(crate) use real::*;
