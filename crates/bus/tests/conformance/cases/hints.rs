//! The ephemeral lane.

use kernel::Hint;

use crate::{case::Case, transport::Transport};

pub(crate) async fn a_hint_reaches_this_process_and_others<T: Transport>(case: &Case<T>) {
    let a = case.run(Vec::new()).await;
    let b = case.run(Vec::new()).await;
    let (mut at_a, mut at_b) = (a.bus().hints(), b.bus().hints());
    let hint = Hint {
        topic: "desk.inbox".to_owned(),
        key: "somebody".to_owned(),
    };

    // Best effort: the other may not listen yet, so it is said until it is heard.
    let said = {
        let (bus, hint) = (a.bus(), hint.clone());
        a.spawn(async move {
            loop {
                bus.hint(hint.clone());
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        })
    };
    assert_eq!(at_a.recv().await.unwrap(), hint);
    assert_eq!(at_b.recv().await.unwrap(), hint);
    said.abort();

    // What would break the wire stays in the process.
    let odd = Hint {
        topic: "desk.inbox".to_owned(),
        key: "a\nb\tc".to_owned(),
    };
    let last = Hint {
        topic: "desk.inbox".to_owned(),
        key: "last".to_owned(),
    };
    for hint in [&odd, &last] {
        a.bus().hint(hint.clone());
    }
    let mut heard_odd = false;
    loop {
        let heard = at_a.recv().await.unwrap();
        heard_odd |= heard == odd;
        if heard == last {
            break;
        }
    }
    assert!(heard_odd);
    loop {
        let heard = at_b.recv().await.unwrap();
        assert!(heard == hint || heard == last, "{heard:?}");
        if heard == last {
            break;
        }
    }
    a.stop().await;
    b.stop().await;
}
