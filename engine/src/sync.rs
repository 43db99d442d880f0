//! What threads share. A build with `--cfg tapgate_loom` takes loom's of them all, which plays every order of a few threads'
//! steps (`make loom`); one with `--cfg tapgate_shuttle` takes shuttle's, which plays many orders of the whole ledger's
//! (`make shuttle`).

#[cfg(not(any(tapgate_loom, tapgate_shuttle)))]
mod real {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
    pub(crate) use std::sync::{Mutex, MutexGuard};
    pub(crate) use std::thread;

    use crossbeam::atomic::AtomicCell;
    pub(crate) use crossbeam::sync::{ShardedLock, ShardedLockReadGuard, ShardedLockWriteGuard};
    pub(crate) use dashmap::{DashMap, Entry};

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
mod of_loom {
    pub(crate) use dashmap::{DashMap, Entry};
    pub(crate) use loom::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
    pub(crate) use loom::sync::{Mutex, MutexGuard};
    pub(crate) use loom::sync::{
        RwLock as ShardedLock, RwLockReadGuard as ShardedLockReadGuard, RwLockWriteGuard as ShardedLockWriteGuard,
    };
    pub(crate) use loom::thread;

    /// loom takes sequentially consistent accesses for acquire and release, and a fence for what it is.
    pub(crate) fn fence_of_accesses() {
        fence(Ordering::SeqCst);
    }
}

#[cfg(tapgate_shuttle)]
mod of_shuttle {
    pub(crate) use shuttle::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, AtomicU64, Ordering, fence};
    pub(crate) use shuttle::sync::{Mutex, MutexGuard};
    pub(crate) use shuttle::sync::{
        RwLock as ShardedLock, RwLockReadGuard as ShardedLockReadGuard, RwLockWriteGuard as ShardedLockWriteGuard,
    };
    pub(crate) use shuttle::thread;

    pub(crate) use super::map::{DashMap, Entry};

    /// shuttle takes every access for sequentially consistent.
    pub(crate) fn fence_of_accesses() {}
}

#[cfg(any(tapgate_loom, tapgate_shuttle))]
mod models {
    use super::{Mutex, thread};

    /// No model sees an `AtomicCell`: a lock is as atomic.
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

    /// Time does not pass in a model.
    pub(crate) fn park_for(_: std::time::Duration) {
        thread::yield_now();
    }
}

#[cfg(tapgate_shuttle)]
mod map;

#[cfg(any(tapgate_loom, tapgate_shuttle))]
pub(crate) use models::*;
#[cfg(tapgate_loom)]
pub(crate) use of_loom::*;
#[cfg(tapgate_shuttle)]
pub(crate) use of_shuttle::*;
#[cfg(not(any(tapgate_loom, tapgate_shuttle)))]
pub(crate) use real::*;
