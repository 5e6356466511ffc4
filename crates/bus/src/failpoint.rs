//! Places between the bus's steps where a test stops an instance, to show what becomes of its work
//! when it is killed or paused there. Without the feature `failpoints` they are nothing.

use uuid::Uuid;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// A place between two steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Point { $($(#[$doc])* $name,)* }

        impl Point {
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

points! {
    /// Leases were taken or renewed; the process does not know it yet.
    LeasesKept,
    /// Events are in the log; nobody was told.
    SequencerCommitted,
    /// The publisher keeps its log for a new subscription, which has no row yet.
    SubscriptionAnnounced,
    /// A batch was read from the log.
    BatchRead,
    /// The batch's transaction holds the lease and the subscription.
    BatchFenced,
    /// The handlers have run.
    BatchHandled,
    /// Watermarks and position have moved, uncommitted.
    BatchMarked,
    /// The batch is committed; the publisher was not told.
    BatchCommitted,
    /// The publisher was told how far the subscription is.
    BatchAcknowledged,
    /// A handler failed and its transaction was rolled back.
    FailureRolledBack,
    /// The event that failed is in its lane, uncommitted.
    FailureParked,
    /// The lane is committed; the process does not know it yet.
    FailureCommitted,
    /// An event is about to be tried again.
    RetryDue,
    /// Its handler has run.
    RetryHandled,
    /// Its lane has moved on, uncommitted.
    RetryMoved,
    /// The lane is committed; the process does not know it yet.
    RetryCommitted,
    /// It failed again and its transaction was rolled back.
    RetryRolledBack,
    /// It was put back, uncommitted.
    RetryPutBack,
    /// The publisher keeps its log for a replay that has not begun.
    ReplayAnnounced,
    /// Inbox and position were set back, uncommitted.
    ReplayReset,
    /// The replay begins.
    ReplayBegun,
}

#[cfg(not(feature = "failpoints"))]
pub(crate) async fn reach(_instance: Uuid, _point: Point) {}

#[cfg(feature = "failpoints")]
pub(crate) use armed::reach;
#[cfg(feature = "failpoints")]
pub use armed::{Hold, Trap, arm};

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::{Arc, Condvar, Mutex};

    use tokio::sync::watch;

    use super::{Point, Uuid};

    static TRAPS: Mutex<Vec<Arc<Inner>>> = Mutex::new(Vec::new());

    /// What stands still when an instance reaches the place.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Hold {
        /// The task: as if this step took very long.
        Task,
        /// The thread: on a runtime with one, as if the process were stopped.
        Thread,
    }

    /// A place at which an instance stops once.
    #[derive(Debug)]
    pub struct Trap(Arc<Inner>);

    #[derive(Debug)]
    struct Inner {
        instance: Uuid,
        point: Point,
        hold: Hold,
        reached: watch::Sender<bool>,
        released: watch::Sender<bool>,
        thread: (Mutex<bool>, Condvar),
    }

    /// Stops an instance when it next reaches the point.
    pub fn arm(instance: Uuid, point: Point, hold: Hold) -> Trap {
        let inner = Arc::new(Inner {
            instance,
            point,
            hold,
            reached: watch::Sender::new(false),
            released: watch::Sender::new(false),
            thread: (Mutex::new(false), Condvar::new()),
        });
        TRAPS
            .lock()
            .expect("no holder panics")
            .push(Arc::clone(&inner));
        Trap(inner)
    }

    impl Trap {
        /// Waits until the instance stands there.
        pub async fn sprung(&self) {
            let mut reached = self.0.reached.subscribe();
            reached
                .wait_for(|reached| *reached)
                .await
                .expect("the trap holds the sender");
        }

        /// Lets the instance go on.
        pub fn release(&self) {
            self.0.released.send_replace(true);
            *self.0.thread.0.lock().expect("no holder panics") = true;
            self.0.thread.1.notify_all();
        }
    }

    impl Drop for Trap {
        fn drop(&mut self) {
            TRAPS
                .lock()
                .expect("no holder panics")
                .retain(|other| !Arc::ptr_eq(other, &self.0));
            self.release();
        }
    }

    pub(crate) async fn reach(instance: Uuid, point: Point) {
        let trap = {
            let mut traps = TRAPS.lock().expect("no holder panics");
            let found = traps
                .iter()
                .position(|t| t.instance == instance && t.point == point);
            found.map(|index| traps.swap_remove(index))
        };
        let Some(trap) = trap else { return };
        trap.reached.send_replace(true);
        match trap.hold {
            Hold::Task => {
                let mut released = trap.released.subscribe();
                released
                    .wait_for(|released| *released)
                    .await
                    .expect("the trap holds the sender");
            }
            Hold::Thread => {
                let mut released = trap.thread.0.lock().expect("no holder panics");
                while !*released {
                    released = trap.thread.1.wait(released).expect("no holder panics");
                }
            }
        }
    }
}
