//! Each process killed and started again, under load.

use std::time::{Duration, Instant};

use rand::seq::IndexedRandom;

use super::{load, load::Load, soak};
use crate::support::split::{GATEWAY, Split, names};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_process_may_be_killed_at_any_time() {
    let mut split = Split::start().await;
    let load = Load::start(&split, 4);
    load.more(4).await;
    let mut order: Vec<_> = names().collect();
    // And at random, where there is time.
    let more = if soak() { 40 } else { 0 };
    let all = order.clone();
    order.extend((0..more).map(|_| *all.choose(&mut rand::rng()).expect("some")));
    let kills = order.len();
    for name in order {
        load.gateway_may_be_down(name == GATEWAY);
        split.kill(name).await;
        // Something goes on meanwhile, or is refused: nobody waits for it.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let started = Instant::now();
        split.start_again(name);
        split.ready(name).await;
        let ready = started.elapsed();
        load.more(3).await;
        let after = (ready.as_secs_f64(), started.elapsed().as_secs_f64());
        println!(
            "{name} ready after {:.1} s, 3 people more after {:.1} s",
            after.0, after.1
        );
        load.gateway_may_be_down(false);
    }
    let people = load.stop().await;
    load::assert_consistent(&split, people).await;
    println!("{kills} kills");
    split.stop().await;
}
