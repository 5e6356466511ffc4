//! What is NATS's own: signing in, servers that go and come back, streams of another configuration.
//!
//! What every transport owes is in `conformance`. Each case starts servers of its own.

#[allow(dead_code, reason = "the other suite uses the rest")]
#[path = "../support/mod.rs"]
mod support;

mod authority;
mod broker;
mod outages;
mod signing_in;
mod streams;
mod tls;
mod tokens;

use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

use broker::Over;
use support::{case::Case, cluster::Cluster};

/// Cases wait for servers more than they compute.
const THREADS: usize = 4;
/// What two instances take of PostgreSQL's connections.
const CONNECTIONS: u32 = 25;

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let cluster = Arc::new(Cluster::default());
    let conclusion = libtest_mimic::run(&arguments, trials(&cluster));
    let cluster = Arc::into_inner(cluster).expect("every case has ended");
    runtime().block_on(cluster.stop());
    conclusion.exit();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

macro_rules! suite {
    ($cluster:ident: $($file:ident { $($case:ident,)* })*) => {
        vec![$($({
            let cluster = Arc::clone($cluster);
            let name = concat!(stringify!($file), "::", stringify!($case));
            Trial::test(name, move || {
                let runtime = runtime();
                runtime.block_on(async {
                    let case = Case::<Over>::open(&cluster, CONNECTIONS).await;
                    $file::$case(&case).await;
                    case.close().await;
                });
                runtime.shutdown_background();
                Ok(())
            })
        },)*)*]
    };
}

fn trials(cluster: &Arc<Cluster>) -> Vec<Trial> {
    suite! { cluster:
        outages {
            a_server_may_come_later,
            a_killed_server_loses_nothing_and_repeats_nothing,
            an_emptied_server_loses_nothing_and_repeats_nothing,
            what_was_relayed_arrives_though_its_publisher_is_away,
        }
        signing_in {
            with_a_password,
            with_a_token,
            with_an_nkey,
            with_a_credentials_file,
        }
        streams {
            a_second_start_changes_nothing,
            a_forged_message_is_heard_by_nobody,
            a_stream_that_another_wrote_to_is_made_anew,
            answers_go_to_no_stream_and_not_to_the_server,
            a_subscription_is_spoken_for_by_its_own_module,
            another_configuration_changes_the_stream,
            a_stream_that_cannot_be_made_loses_nothing,
            a_stream_of_another_log_is_made_anew,
            another_database_of_the_module_is_refused,
            copies_outlive_a_server,
        }
        tls {
            certificates_on_both_sides,
            a_server_without_it_is_refused_when_it_is_required,
        }
    }
}
