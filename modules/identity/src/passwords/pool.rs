//! A few threads that work off a queue, each with memory that it gives back when idle.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard},
    thread,
    time::Duration,
};

pub(crate) type Work<M> = Box<dyn FnOnce(&mut M) + Send>;

/// Threads with a working memory `M` each. They end when the pool goes. How much may wait for them
/// is for the caller to bound.
pub(crate) struct Pool<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    queue: Mutex<Queue<M>>,
    /// A job came, or the pool goes.
    changed: Condvar,
}

struct Queue<M> {
    waiting: VecDeque<Work<M>>,
    closed: bool,
    /// Threads that hold working memory.
    holding: usize,
}

impl<M: Default + 'static> Pool<M> {
    pub(crate) fn new(name: &str, threads: usize, idle: Duration) -> Self {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                waiting: VecDeque::new(),
                closed: false,
                holding: 0,
            }),
            changed: Condvar::new(),
        });
        for nr in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("{name}-{nr}"))
                .spawn(move || shared.serve(idle))
                .expect("the system has a thread to give");
        }
        Self { shared }
    }

    pub(crate) fn submit(&self, work: Work<M>) {
        self.shared.lock().waiting.push_back(work);
        self.shared.changed.notify_one();
    }

    #[cfg(test)]
    fn holding(&self) -> usize {
        self.shared.lock().holding
    }
}

impl<M> Drop for Pool<M> {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

impl<M> Shared<M> {
    fn lock(&self) -> MutexGuard<'_, Queue<M>> {
        self.queue
            .lock()
            .expect("no job runs under the lock, so no holder panics")
    }
}

impl<M: Default> Shared<M> {
    fn serve(&self, idle: Duration) {
        let mut memory = None;
        while let Some(work) = self.next(&mut memory, idle) {
            let scratch = memory.get_or_insert_with(M::default);
            // One job's panic must not take the thread from all that come after it. What it left
            // in the memory is unknown.
            if catch_unwind(AssertUnwindSafe(|| work(scratch))).is_err() {
                tracing::error!("a password hashing job panicked");
                memory = None;
                self.lock().holding -= 1;
            }
        }
    }

    /// The next job; none when the pool went and nothing waits. Without one for `idle`, the memory
    /// goes back first.
    fn next(&self, memory: &mut Option<M>, idle: Duration) -> Option<Work<M>> {
        let mut queue = self.lock();
        loop {
            if let Some(work) = queue.waiting.pop_front() {
                queue.holding += usize::from(memory.is_none());
                return Some(work);
            }
            if queue.closed {
                return None;
            }
            let poisoned = "no job runs under the lock, so no holder panics";
            if memory.is_none() {
                queue = self.changed.wait(queue).expect(poisoned);
                continue;
            }
            let (again, timeout) = self.changed.wait_timeout(queue, idle).expect(poisoned);
            queue = again;
            if timeout.timed_out() && queue.waiting.is_empty() {
                queue.holding -= 1;
                drop(queue);
                *memory = None;
                queue = self.lock();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    type TestPool = Pool<Vec<u8>>;

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn memory_is_kept_while_busy_and_given_back_when_idle() {
        let pool = TestPool::new("test", 1, Duration::from_millis(20));
        let (done, results) = mpsc::channel();
        let run = || {
            let done = done.clone();
            pool.submit(Box::new(move |memory| {
                memory.push(1);
                done.send(memory.len()).unwrap();
            }));
            results.recv().unwrap()
        };
        assert_eq!(run(), 1);
        while pool.holding() > 0 {
            thread::yield_now();
        }
        assert_eq!(run(), 1, "fresh memory after an idle time");

        let pool = TestPool::new("test", 1, LONG);
        let (done, results) = mpsc::channel();
        for _ in 0..3 {
            let done = done.clone();
            pool.submit(Box::new(move |memory| {
                memory.push(1);
                done.send(memory.len()).unwrap();
            }));
        }
        let lengths: Vec<usize> = results.iter().take(3).collect();
        assert_eq!(lengths, [1, 2, 3], "the same memory while busy");
        assert_eq!(pool.holding(), 1);
    }

    #[test]
    fn a_panic_ends_a_job_and_not_its_thread() {
        let pool = TestPool::new("test", 1, LONG);
        pool.submit(Box::new(|memory| {
            memory.push(1);
            panic!("as a test");
        }));
        let (done, results) = mpsc::channel();
        pool.submit(Box::new(move |memory| done.send(memory.len()).unwrap()));
        assert_eq!(results.recv().unwrap(), 0);
    }

    #[test]
    fn what_waits_is_done_and_the_threads_end_with_the_pool() {
        let pool = TestPool::new("test", 2, LONG);
        let shared = Arc::downgrade(&pool.shared);
        let (done, results) = mpsc::channel();
        for _ in 0..50 {
            let done = done.clone();
            pool.submit(Box::new(move |_| done.send(()).unwrap()));
        }
        drop((pool, done));
        assert_eq!(results.iter().count(), 50);
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }
}
