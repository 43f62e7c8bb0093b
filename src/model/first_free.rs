//! The first number that is free, without asking for each of very many that are taken.

/// So many are asked for one after another: mostly there are few, and then it is the very first.
const ONE_BY_ONE: u64 = 16;

/// A number from `from` to `max` that is free while the one before it is taken: the first, where those that are taken have no gap. Of sixty
/// thousand some thirty are asked for.
pub(crate) fn first_free<E>(
    from: u64,
    max: u64,
    mut is_taken: impl FnMut(u64) -> Result<bool, E>,
) -> Result<Option<u64>, E> {
    let mut taken = from;
    for number in from..=max.min(from.saturating_add(ONE_BY_ONE)) {
        if !is_taken(number)? {
            return Ok(Some(number));
        }
        taken = number;
    }
    let mut step = ONE_BY_ONE;
    let mut free = loop {
        if taken >= max {
            return Ok(None);
        }
        let next = taken.saturating_add(step).min(max);
        if !is_taken(next)? {
            break next;
        }
        (taken, step) = (next, step.saturating_mul(2));
    };
    while free - taken > 1 {
        let middle = taken + (free - taken) / 2;
        *(if is_taken(middle)? { &mut taken } else { &mut free }) = middle;
    }
    Ok(Some(free))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer, and how many were asked for.
    fn found(from: u64, max: u64, is_taken: impl Fn(u64) -> bool) -> (Option<u64>, usize) {
        let mut asked = 0;
        let answer = first_free(from, max, |number| {
            asked += 1;
            Ok::<_, ()>(is_taken(number))
        });
        (answer.expect("is asked"), asked)
    }

    #[test]
    fn it_is_the_first_one_and_few_are_asked_for() {
        for count in [0, 1, 15, 16, 17, 18, 1000, 60_000] {
            let (answer, asked) = found(0, u64::MAX, |number| number < count);
            assert_eq!(answer, Some(count));
            assert!(asked <= 50, "{asked} of {count}");
        }
        assert_eq!(found(5, 100, |number| number < 70).0, Some(70));
    }

    #[test]
    fn where_there_is_a_gap_it_is_free_all_the_same() {
        let is_taken = |number| number < 2000 && number != 1500;
        let answer = found(0, u64::MAX, is_taken).0.expect("there is one");
        assert!(!is_taken(answer) && is_taken(answer - 1));
        assert_eq!(found(0, 9, |number| number != 3).0, Some(3));
    }

    #[test]
    fn there_is_none_where_all_up_to_the_last_are_taken() {
        for max in [0, 9, 10_000] {
            assert_eq!(found(0, max, |_| true).0, None);
            assert_eq!(found(0, max, |number| number < max).0, Some(max));
        }
        assert_eq!(found(0, u64::MAX, |_| true).0, None);
    }
}
