//! Notes when a callback reaches each mark.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::os::unix::fs::FileExt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Wake, Waker};

use hyper::Response;
use hyper::header::HeaderValue;
use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

use super::{HEADER, MARKS, Mark};

/// The marks of one request: its task sets most of them, the journal's thread some.
#[derive(Debug, Default)]
struct Marks([AtomicU64; MARKS]);

impl Marks {
    #[expect(clippy::indexing_slicing, reason = "a mark is below their number")]
    fn set(&self, mark: Mark, value: u64) {
        self.0[mark as usize].store(value, Ordering::Relaxed);
    }

    fn header(&self) -> String {
        let values: Vec<_> = self.0.iter().map(|value| value.load(Ordering::Relaxed).to_string()).collect();
        values.join(" ")
    }
}

tokio::task_local! {
    static REQUEST: Arc<Marks>;
}

/// When the write that is under way, or the last one, began and ended. One thread appends, and wakes tasks in between.
static APPEND_BEGAN: AtomicU64 = AtomicU64::new(0);
static APPEND_ENDED: AtomicU64 = AtomicU64::new(0);

/// What a thread used since its request was handled, and the rows that it looked up.
#[derive(Clone, Copy, Default)]
struct Used {
    on_core: u64,
    waited_for_core: u64,
    row_reads: u64,
    row_reads_took: u64,
}

thread_local! {
    static USED: Cell<Used> = const { Cell::new(Used { on_core: 0, waited_for_core: 0, row_reads: 0, row_reads_took: 0 }) };
    static SCHEDULED: Option<File> = File::open("/proc/thread-self/schedstat").ok();
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    let [seconds, nanos] = [time.tv_sec, time.tv_nsec].map(i64::unsigned_abs);
    seconds * 1_000_000_000 + nanos
}

/// By the clock that every process of this machine reads.
pub(super) fn now() -> u64 {
    nanos(ClockId::Monotonic)
}

/// How long this thread has waited for a core so far, in nanoseconds: the second number of its schedstat.
fn waited_for_core() -> u64 {
    SCHEDULED.with(|file| {
        let mut text = [0; 64];
        let length = file.as_ref().and_then(|file| file.read_at(&mut text, 0).ok()).unwrap_or(0);
        let text = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
        text.split_ascii_whitespace().nth(1).and_then(|waited| waited.parse().ok()).unwrap_or(0)
    })
}

pub(super) fn note_append(began: u64) {
    APPEND_BEGAN.store(began, Ordering::Relaxed);
    APPEND_ENDED.store(now(), Ordering::Relaxed);
}

pub(super) fn note_row_read(took: u64) {
    USED.with(|used| {
        let Used { row_reads, row_reads_took, .. } = used.get();
        used.set(Used { row_reads: row_reads + 1, row_reads_took: row_reads_took + took, ..used.get() });
    });
}

/// When a connection's last answer was handed to its socket.
#[derive(Clone, Debug, Default)]
pub struct Written(Arc<AtomicU64>);

impl Written {
    /// An answer was written, or a part of one.
    pub fn now(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }
}

/// A request came then, on a connection that last wrote then.
pub fn begins(arrived: Instant, written: &Written) {
    let _ = REQUEST.try_with(|marks| {
        let since = u64::try_from(arrived.elapsed().as_nanos()).unwrap_or(u64::MAX);
        marks.set(Mark::Read, now().saturating_sub(since));
        marks.set(Mark::WrittenBefore, written.0.swap(0, Ordering::Relaxed));
    });
}

/// The request has come this far.
pub fn mark(mark: Mark) {
    let _ = REQUEST.try_with(|marks| {
        match mark {
            Mark::Handled => USED.set(Used {
                on_core: nanos(ClockId::ThreadCPUTime),
                waited_for_core: waited_for_core(),
                ..Used::default()
            }),
            Mark::Decided => {
                let used = USED.get();
                marks.set(Mark::RowReads, used.row_reads);
                marks.set(Mark::RowReadsTook, used.row_reads_took);
                marks.set(Mark::OnCore, nanos(ClockId::ThreadCPUTime).saturating_sub(used.on_core));
                marks.set(Mark::WaitedForCore, waited_for_core().saturating_sub(used.waited_for_core));
            }
            _ => {}
        }
        marks.set(mark, now());
    });
}

/// A waker that notes when it is called, by the thread that made the record durable.
struct Tell {
    marks: Arc<Marks>,
    waker: Waker,
}

impl Wake for Tell {
    fn wake(self: Arc<Self>) {
        self.marks.set(Mark::AppendBegan, APPEND_BEGAN.load(Ordering::Relaxed));
        self.marks.set(Mark::AppendEnded, APPEND_ENDED.load(Ordering::Relaxed));
        self.marks.set(Mark::Told, now());
        self.waker.wake_by_ref();
    }
}

/// Waits for durability, and notes when the task was told and when it ran.
pub async fn told<F: Future>(future: F) -> F::Output {
    let Ok(marks) = REQUEST.try_with(Arc::clone) else { return future.await };
    let mut future = pin!(future);
    let mut tell: Option<Arc<Tell>> = None;
    let output = std::future::poll_fn(|context| {
        // One waker as long as the task keeps its own: a ticket takes every other one for another task.
        let kept = tell.take().filter(|tell| tell.waker.will_wake(context.waker()));
        let kept = kept.unwrap_or_else(|| Arc::new(Tell { marks: Arc::clone(&marks), waker: context.waker().clone() }));
        let waker = Waker::from(Arc::clone(&kept));
        tell = Some(kept);
        future.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await;
    marks.set(Mark::Woke, now());
    output
}

/// Gives the answer to a request, with its marks.
pub async fn traced<B>(answer: impl Future<Output = Response<B>>) -> Response<B> {
    let marks = Arc::new(Marks::default());
    let mut response = REQUEST.scope(Arc::clone(&marks), answer).await;
    marks.set(Mark::Answered, now());
    if let Ok(value) = HeaderValue::try_from(marks.header()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn an_answer_names_every_moment_in_order() {
        let written = Written::default();
        written.now();
        let (tell, is_told) = oneshot::channel();
        let answer = async {
            begins(Instant::now(), &written);
            for reached in [Mark::Handled, Mark::Parsed, Mark::Decided] {
                mark(reached);
            }
            note_append(now());
            // The first waits before the second runs.
            let (was_told, ()) = tokio::join!(told(is_told), async { tell.send(()).unwrap() });
            was_told.unwrap();
            Response::new(())
        };
        let response = traced(answer).await;
        let header = response.headers().get(HEADER).unwrap().to_str().unwrap();
        let marks: Vec<u64> = header.split(' ').map(|number| number.parse().unwrap()).collect();
        assert_eq!(marks.len(), MARKS);
        let moments = &marks[..=Mark::Answered as usize];
        assert!(moments.iter().all(|moment| *moment > 0) && moments.is_sorted(), "{moments:?}");
        assert!(marks[Mark::OnCore as usize] > 0);
        assert_eq!(written.0.load(Ordering::Relaxed), 0, "the next answer tells of this one's");
    }

    #[tokio::test]
    async fn nothing_is_noted_outside_a_request() {
        mark(Mark::Decided);
        assert_eq!(told(std::future::ready(7)).await, 7);
    }
}
