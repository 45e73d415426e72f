use super::*;

/// A client's books and a clock that only moves when told.
struct Story {
    ledger: Ledger,
    now: Instant,
}

impl Story {
    fn new() -> Self {
        Self { ledger: Ledger::default(), now: Instant::now() }
    }

    fn after(&mut self, milliseconds: u64) -> &mut Self {
        self.now += Duration::from_millis(milliseconds);
        self
    }

    fn send(&mut self, messages: u64) -> &mut Self {
        for _ in 0..messages {
            self.ledger.send(self.now);
        }
        self
    }

    fn echo(&mut self, process: u32, numbers: impl IntoIterator<Item = u64>) -> &mut Self {
        for number in numbers {
            self.ledger.echo(number, process, self.now);
        }
        self
    }

    fn totals(&self) -> Totals {
        Totals::of([&self.ledger], self.now)
    }
}

const A: u32 = 100;
const B: u32 = 200;

#[test]
fn echoes_in_order_keep_the_promise() {
    let mut story = Story::new();
    let totals = story.send(3).echo(A, 1..=3).totals();
    assert_eq!((totals.sent, totals.echoed, totals.outstanding), (3, 3, 0));
    assert!(totals.kept());
}

#[test]
fn what_a_replay_brings_again_is_repeated_and_not_counted_as_echoed() {
    let mut story = Story::new();
    let totals = story.send(4).echo(A, 1..=3).echo(B, 2..=4).totals();
    assert_eq!((totals.echoed, totals.repeated, totals.lost), (4, 2, 0));
    assert!(totals.kept());
}

#[test]
fn a_number_that_is_passed_over_is_lost() {
    let mut story = Story::new();
    let totals = story.send(5).echo(A, [1, 4]).totals();
    assert_eq!((totals.echoed, totals.lost, totals.outstanding), (2, 2, 1));
    assert!(!totals.kept());
}

#[test]
fn a_passed_over_number_that_comes_late_is_out_of_order_and_not_lost() {
    let mut story = Story::new();
    let totals = story.send(3).echo(A, [1, 3, 2]).totals();
    assert_eq!((totals.lost, totals.out_of_order, totals.repeated), (0, 1, 0));
    assert!(!totals.kept());
}

#[test]
fn what_never_came_back_is_lost_once_the_books_are_settled() {
    let mut story = Story::new();
    let mut totals = story.send(3).echo(A, 1..=2).totals();
    assert!(totals.kept());
    totals.settle();
    assert_eq!((totals.lost, totals.outstanding), (1, 0));
    assert!(!totals.kept());
}

#[test]
fn an_answer_to_what_was_never_sent_is_foreign() {
    let mut story = Story::new();
    let totals = story.send(1).echo(A, [1, 2, 0]).totals();
    assert_eq!((totals.echoed, totals.foreign), (1, 2));
    assert!(!totals.kept());
}

#[test]
fn a_closed_client_breaks_the_promise_and_its_first_reason_counts() {
    let mut story = Story::new();
    story.ledger.closed("1013".to_owned());
    story.ledger.closed("end of stream".to_owned());
    assert_eq!(story.totals().closed, ["1013"]);
    assert!(!story.totals().kept());
}

#[test]
fn the_gap_of_a_failover_runs_from_the_last_echo_to_the_next_new_one() {
    let mut story = Story::new();
    story.send(2).after(1).echo(A, [1]);
    story.after(20).send(1).after(30).echo(B, [1]).after(5).echo(B, [2, 3]);
    let totals = story.totals();
    assert_eq!((totals.failovers, totals.repeated), (1, 1));
    assert_eq!(totals.median_gap, Some(Duration::from_millis(55)));
    assert_eq!(totals.worst_silence, Duration::from_millis(55));
}

#[test]
fn silence_begins_with_the_message_if_nothing_was_outstanding_before() {
    let mut story = Story::new();
    story.send(1).after(1).echo(A, [1]);
    story.after(500).send(1).after(3).echo(B, [2]);
    assert_eq!(story.totals().median_gap, Some(Duration::from_millis(3)));
    assert_eq!(story.totals().worst_silence, Duration::from_millis(3));
}

#[test]
fn a_silence_that_goes_on_already_counts_as_the_worst_but_is_no_gap() {
    let mut story = Story::new();
    story.send(1).after(700);
    assert_eq!(story.totals().worst_silence, Duration::from_millis(700));
    assert_eq!(story.totals().median_gap, None);
}

#[test]
fn only_the_latest_gaps_are_kept() {
    let mut story = Story::new();
    for number in 1..=2 * GAPS_KEPT as u64 + 1 {
        story.send(1).after(number).echo(number as u32, [number]);
    }
    assert_eq!(story.ledger.gaps.len(), GAPS_KEPT);
    assert_eq!(story.ledger.gaps.back(), Some(&Duration::from_millis(2 * GAPS_KEPT as u64 + 1)));
}

#[test]
fn totals_add_up_over_clients() {
    let (mut one, mut two) = (Story::new(), Story::new());
    one.send(2).echo(A, [1, 2]);
    two.send(3).echo(B, [1]);
    let totals = Totals::of([&one.ledger, &two.ledger], one.now);
    assert_eq!((totals.sent, totals.echoed, totals.outstanding), (5, 3, 2));
}
