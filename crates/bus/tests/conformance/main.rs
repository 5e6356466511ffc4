//! What every transport owes: one suite, run against each of them on a real PostgreSQL.
//!
//! The cases know only [`Transport`]. A transport passes them by implementing it and
//! being named in `main`.

mod cases;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use support::{
    broker,
    buses::{Buses, InProcess, OverNats},
    case::{self, Case},
    cluster::{self, Cluster},
    instance, language,
    transport::{self, Transport},
};

/// Cases wait for leases and retries more than they compute.
const THREADS: usize = 6;
/// What three instances take of the server's connections.
const CONNECTIONS: u32 = 35;

fn main() {
    if let Some(task) = cases::backlog::Task::from_environment() {
        return runtime().block_on(async {
            match &*task.transport {
                name if name == Buses::<InProcess>::NAME => task.run::<Buses<InProcess>>().await,
                name if name == Buses::<OverNats>::NAME => task.run::<Buses<OverNats>>().await,
                other => panic!("no transport is called {other}"),
            }
        });
    }
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    // The server is started by the first case: listing them needs none.
    let cluster = Arc::new(Cluster::default());
    let mut trials = trials::<Buses<InProcess>>(&cluster);
    trials.extend(self::trials::<Buses<OverNats>>(&cluster));
    let conclusion = libtest_mimic::run(&arguments, trials);
    let cluster = Arc::into_inner(cluster).expect("every case has ended");
    runtime().block_on(cluster.stop());
    broker::stop();
    conclusion.exit();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// The cases, by their paths below `cases`, and how many connections they take if they are many.
macro_rules! suite {
    ($transport:ident, $cluster:ident:
     $($file:ident { $($case:ident $([$connections:literal])?,)* })*) => {
        vec![$($({
            let cluster = Arc::clone($cluster);
            let name = concat!(stringify!($file), "::", stringify!($case));
            Trial::test(format!("{}::{name}", $transport::NAME), move || {
                let runtime = runtime();
                runtime.block_on(async {
                    let connections = [CONNECTIONS $(, $connections)?];
                    let most = connections[connections.len() - 1];
                    let case = Case::<$transport>::open(&cluster, most).await;
                    cases::$file::$case(&case).await;
                    case.close().await;
                });
                runtime.shutdown_background();
                Ok(())
            })
        },)*)*]
    };
}

fn trials<T: Transport>(cluster: &Arc<Cluster>) -> Vec<Trial> {
    suite! { T, cluster:
        backlog {
            a_long_backlog_takes_no_more_memory_than_a_short_one,
        }
        broadcasts {
            every_process_gets_all_of_the_last_while,
            a_panic_in_a_broadcast_costs_that_event_alone,
        }
        delivery {
            commit_means_delivered_and_rollback_means_never,
            what_was_committed_before_a_crash_is_delivered_after_it,
            pending_events_and_what_follows_from_them_are_delivered_at_once,
            an_event_that_commits_late_is_not_skipped,
            a_payload_over_the_bound_fails_its_transaction,
            a_handler_publishes_in_the_trace_of_its_event,
            redelivered_envelopes_are_equal_to_the_byte,
            lag_is_an_age,
            a_subscription_beyond_its_log_is_told,
            a_log_that_was_set_back_is_not_read_on,
        }
        duplicates {
            what_was_handled_is_dropped_when_it_comes_again,
            a_missing_event_is_fetched_again,
            an_event_that_is_gone_parks_its_subject,
        }
        failures {
            a_poison_event_parks_its_subject_alone,
            a_parked_event_can_be_skipped,
            an_event_without_order_fails_alone,
            a_panic_or_a_hang_fails_that_delivery_alone,
            a_handler_that_breaks_its_transaction_fails_alone,
            two_halves_meet_in_any_order,
            a_half_that_never_comes_parks,
            a_slow_subscription_delays_nobody_else,
        }
        hints {
            a_hint_reaches_this_process_and_others,
        }
        instances {
            two_instances_do_nothing_twice_and_one_goes_on_alone,
            a_process_that_wakes_up_after_its_lease_changes_nothing [75],
            a_killed_process_loses_nothing_and_repeats_nothing [75],
        }
        losses {
            notifications_are_not_relied_on,
            connections_may_break_at_any_time,
        }
        order {
            many_writers_keep_the_order_of_each_subject [45],
            numbers_are_dense_however_transactions_interleave,
            a_whole_log_comes_in_the_order_of_its_positions,
        }
        privileges {
            the_record_cannot_be_rewritten,
        }
        replays {
            a_replay_rebuilds_what_it_emptied,
            a_failure_in_a_replay_is_tried_again,
            a_replay_may_begin_again_before_it_ends,
        }
        starts {
            a_late_subscription_gets_all_or_only_what_is_new,
            a_late_subscription_takes_what_the_log_still_has,
            restating_makes_up_for_a_log_that_is_gone,
            the_log_is_kept_until_every_cursor_has_passed,
            a_topic_that_is_added_begins_where_the_subscription_stands,
        }
        versions {
            an_unknown_version_parks_and_an_unknown_type_does_not,
            erased_events_are_passed_over,
        }
    }
}
