//! `tapgate explain`: the decision's ladder, and the counterfactual.

use tapgate_engine::fact::Reason;

use super::checks::{CheckContext, known, words};
use super::decision::{Counterfactual, Decision, Step};
use crate::cli::ui::amounts::{Money, amount};
use crate::cli::ui::screen::Screen;
use crate::cli::ui::table::fields;
use crate::cli::ui::when;

/// Reasons that are not checks of the ladder: they apply after the decision.
const NOT_IN_THE_LADDER: [Reason; 2] = [Reason::DeadlineExceeded, Reason::JournalUnavailable];

pub(in crate::cli) fn view(decision: &Decision, screen: Screen) -> String {
    let mut shown = format!("{}\n\n{}", headline(decision, screen), request(decision));
    if decision.trace.is_empty() {
        let given_back = decision.approved_amount().map(|money| format!("; {money} was given back"));
        let given_back = given_back.unwrap_or_default();
        shown.push_str(&format!("\nNothing was checked: reversals and advices are always acknowledged{given_back}.\n"));
        return shown;
    }
    let ways = by_source(&decision.trace);
    let several = ways.len() > 1;
    for (index, (source, steps)) in ways.iter().enumerate() {
        let title = match (several, index) {
            (false, _) => "Checks, in order".to_owned(),
            (true, 0) => format!("Checks, in order, for source {source}"),
            (true, _) => format!("Then, for source {source}"),
        };
        let source = if several { source } else { decision.source.as_ref().map_or("", |source| source.as_str()) };
        let source = if source.is_empty() { source_of(steps) } else { source };
        shown.push_str(&format!("\n{}\n", screen.strong(&title)));
        let about = CheckContext { kind: decision.kind.as_str(), asked: decision.requested.as_ref(), source };
        shown.push_str(&checks(steps, &about, screen));
    }
    shown.push_str(&format!("\n{}\n", verdict(decision)));
    shown
}

fn headline(decision: &Decision, screen: Screen) -> String {
    let returns = matches!(decision.kind.as_str(), "reversal" | "advice");
    let outcome = match (&decision.reason, &decision.source) {
        _ if returns => screen.good("ACKNOWLEDGED"),
        (Some(reason), _) => {
            let code = known(reason.as_str())
                .map_or(String::new(), |known| format!(" (response code {})", known.response_code()));
            format!("{}: {reason}{code}", screen.bad("DECLINED"))
        }
        (None, Some(source)) => {
            let in_part = if is_partial(decision) { " IN PART" } else { "" };
            format!("{} from {source}", screen.good(&format!("APPROVED{in_part}")))
        }
        (None, None) => screen.good(&decision.state.as_str().to_uppercase()),
    };
    format!("{} {outcome}", screen.strong(decision.authorization_id.as_str()))
}

fn is_partial(decision: &Decision) -> bool {
    let approved = decision.approved_amount();
    decision.requested.as_ref().zip(approved.as_ref()).is_some_and(|(asked, approved)| asked.beyond(approved).is_some())
}

fn request(decision: &Decision) -> String {
    let dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut named = vec![("asked", dash(decision.requested.as_ref().map(Money::to_string)))];
    if decision.kind.as_str() != "authorization" {
        named.push(("type", format!("{} of {}", decision.kind, decision.root_id)));
    }
    named.push(("user", dash(decision.ur_id.as_ref().map(ToString::to_string))));
    named.push(("card", dash(decision.card_id.as_ref().map(ToString::to_string))));
    named.push(("at", dash(decision.at.map(when::utc))));
    fields(&named)
}

/// The steps of each source, in order. With a single source the API does not name it.
fn by_source(trace: &[Step]) -> Vec<(&str, Vec<&Step>)> {
    let mut ways: Vec<(&str, Vec<&Step>)> = Vec::new();
    for step in trace {
        let source = step.values.one("source");
        match ways.last_mut() {
            // A reason that applies after the decision has no source of its own.
            Some((last, steps)) if *last == source || source.is_empty() => steps.push(step),
            _ => ways.push((source, vec![step])),
        }
    }
    ways
}

/// Only a pool's check reveals the source.
fn source_of(steps: &[&Step]) -> &'static str {
    let pool = steps.iter().any(|step| !step.values.one("pool").is_empty());
    if pool { "CRYPTO" } else { "" }
}

fn checks(steps: &[&Step], about: &CheckContext<'_>, screen: Screen) -> String {
    let missed = not_reached(steps);
    let names = steps.iter().map(|step| step.check.as_str()).chain(missed.iter().map(|reason| reason.name()));
    let width = names.map(|name| name.chars().count()).max().unwrap_or(0);
    let mut shown = String::new();
    for step in steps {
        let line = format!("{:<width$}  {}", step.check, words(step, about));
        let line = line.trim_end();
        shown.push_str(&if step.passed {
            format!("  {} {line}\n", screen.good("✓"))
        } else {
            format!("  {}\n", screen.bad(&format!("✗ {line}")))
        });
    }
    for reason in missed {
        shown.push_str(&format!("  {}\n", screen.faint(&format!("· {:<width$}  not reached", reason.name()))));
    }
    shown
}

/// The checks below the failed check.
fn not_reached(steps: &[&Step]) -> Vec<Reason> {
    let failed = steps.iter().find(|step| !step.passed).and_then(|step| known(step.check.as_str()));
    let below = |reason: &Reason| failed.is_some_and(|failed| *reason > failed);
    Reason::ALL.iter().copied().filter(|reason| below(reason) && !NOT_IN_THE_LADDER.contains(reason)).collect()
}

fn verdict(decision: &Decision) -> String {
    let reason = decision.reason.as_ref().and_then(|reason| known(reason.as_str()));
    match (&decision.reason, &decision.counterfactual) {
        (None, _) => approval(decision),
        (Some(_), _) if reason == Some(Reason::DeadlineExceeded) => {
            "Every check had passed: in time it would have been approved.".to_owned()
        }
        (Some(_), Some(counterfactual)) => {
            let instead = instead(decision, counterfactual, reason);
            remedy(reason, decision).map_or_else(|| instead.clone(), |remedy| format!("{instead}\n{remedy}"))
        }
        (Some(_), None) => "What would have been approved is not known.".to_owned(),
    }
}

fn approval(decision: &Decision) -> String {
    let approved = decision.approved_amount().or_else(|| decision.requested.clone());
    let approved = approved.map_or("it".to_owned(), |money| money.to_string());
    let in_part = if is_partial(decision) { " as the part that every bound allowed" } else { "" };
    let limit = decision
        .chf
        .as_ref()
        .map(|centimes| format!(" It took {} of the limit.", crate::cli::ui::amounts::chf(centimes.as_str())));
    let held = decision.held.as_ref().map(|held| {
        let what = if decision.root_id == decision.authorization_id { "It" } else { decision.root_id.as_str() };
        format!(" {what} is {} now and holds {held}.", decision.state)
    });
    format!("Approved {approved}{in_part}.{}{}", limit.unwrap_or_default(), held.unwrap_or_default())
}

/// The request that would have been approved, everything else being equal.
fn instead(decision: &Decision, counterfactual: &Counterfactual, reason: Option<Reason>) -> String {
    let up_to = counterfactual.approved_up_to.as_ref().map(|minor| amount(minor.as_str(), decision.currency()));
    let after = counterfactual.approved_after.map(|at| {
        let cause = match reason {
            Some(Reason::LimitExceeded) => ", when the limit's 30 days begin anew",
            Some(Reason::VelocityAmount | Reason::VelocityCount) => ", when earlier approvals have left the window",
            _ => "",
        };
        format!("after {}{cause}", when::utc(at))
    });
    match (up_to, after) {
        (Some(amount), Some(time)) => format!("It would have been approved up to {amount}, or in full {time}."),
        (Some(amount), None) => format!("It would have been approved up to {amount}."),
        (None, Some(time)) => format!("It would have been approved {time}."),
        (None, None) => "Neither a smaller amount nor a later time alone would have been approved.".to_owned(),
    }
}

/// The command that removes the obstacle, if a person may remove it.
fn remedy(reason: Option<Reason>, decision: &Decision) -> Option<String> {
    let id = |value: &Option<crate::cli::ui::screen::Text>, other: &str| {
        // A command that people copy may contain only characters that a shell does not interpret.
        let plain = |text: &&str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
        value.as_ref().map(|text| text.as_str()).filter(plain).unwrap_or(other).to_owned()
    };
    let (user, card) = (id(&decision.ur_id, "UR_ID"), id(&decision.card_id, "CARD_ID"));
    let command = match reason? {
        Reason::ProgramSuspended => "tapgate program resume".to_owned(),
        Reason::ProviderSuspended => "tapgate program".to_owned(),
        Reason::UnknownUser | Reason::UnknownCard => "tapgate users import FILE".to_owned(),
        Reason::UserSuspended => format!("tapgate users resume {user}"),
        Reason::CardFrozen => format!("tapgate cards activate {card}"),
        Reason::PoolStressed | Reason::PoolReserveHeld | Reason::PoolExhausted => "tapgate pools".to_owned(),
        Reason::CountryBlocked
        | Reason::MccBlocked
        | Reason::MerchantBlocked
        | Reason::ChannelBlocked
        | Reason::TransactionAmountLimit
        | Reason::VelocityAmount
        | Reason::VelocityCount
        | Reason::LimitExceeded
        | Reason::InsufficientUserFunds => format!("tapgate users show {user}"),
        _ => return None,
    };
    Some(format!("See also: {command}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(json: &str) -> String {
        view(&serde_json::from_str(json).unwrap(), Screen::plain())
    }

    #[test]
    fn explanations_read_as_their_golden_files() {
        let check = |json: &str, expected: &str| assert_eq!(explained(json), expected);
        check(include_str!("golden/limit.json"), include_str!("golden/limit.txt"));
        check(include_str!("golden/two_sources.json"), include_str!("golden/two_sources.txt"));
        check(include_str!("golden/increment.json"), include_str!("golden/increment.txt"));
    }

    /// The golden decline with changes.
    fn changed(change: impl FnOnce(&mut serde_json::Value)) -> String {
        let mut value = serde_json::from_str(include_str!("golden/limit.json")).unwrap();
        change(&mut value);
        explained(&value.to_string())
    }

    #[test]
    fn the_counterfactual_renders_in_words() {
        let check = |up_to: Option<&str>, after: Option<i64>, expected: &str| {
            let counterfactual = serde_json::json!({"approvedUpTo": up_to, "approvedAfter": after});
            let shown = changed(|value| value["counterfactual"] = counterfactual);
            assert!(shown.contains(&format!("\n\n{expected}\n")), "{shown}");
        };
        let anew = "2026-01-17 14:18:21 UTC, when the limit's 30 days begin anew.";
        check(Some("1059"), None, "It would have been approved up to 10.59 EUR.");
        check(None, Some(1_768_659_501), &format!("It would have been approved after {anew}"));
        check(
            Some("1"),
            Some(1_768_659_501),
            &format!("It would have been approved up to 0.01 EUR, or in full after {anew}"),
        );
        check(None, None, "Neither a smaller amount nor a later time alone would have been approved.");
    }

    #[test]
    fn a_decision_that_came_too_late_had_passed() {
        let shown = changed(|value| {
            value["reason"] = "deadline_exceeded".into();
            value["source"] = "CRYPTO".into();
            value["trace"] = serde_json::json!([
                {"check": "pool_exhausted", "passed": true, "values": {}},
                {"check": "deadline_exceeded", "passed": false, "values": {}},
            ]);
        });
        assert!(shown.contains("auth_3 DECLINED: deadline_exceeded (response code 91)"), "{shown}");
        assert!(shown.contains("  ✓ pool_exhausted     no pool takes part\n  ✗ deadline_exceeded  "), "{shown}");
        assert!(shown.ends_with("\nEvery check had passed: in time it would have been approved.\n"), "{shown}");
    }

    #[test]
    fn text_from_outside_cannot_control_the_terminal() {
        let hostile = "\u{1b}[2J\u{202e}x";
        let shown = changed(|value| {
            for name in ["authorizationId", "cardId", "urId", "reason", "state", "type"] {
                value[name] = hostile.into();
            }
            let values = serde_json::json!({hostile: [hostile, hostile]});
            value["trace"][0] = serde_json::json!({"check": hostile, "passed": true, "values": values});
            value["trace"][14]["values"]["country"] = hostile.into();
        });
        let controls_terminal =
            |character: char| character != '\n' && (character.is_control() || character == '\u{202e}');
        assert!(!shown.contains(controls_terminal), "{shown:?}");
        assert_eq!(shown.matches("\\u{1b}[2J\\u{202e}x").count(), 10, "{shown}");
    }

    #[test]
    fn a_command_to_copy_names_only_plain_ids() {
        let frozen = |card: &str| {
            changed(|value| {
                value["reason"] = "card_frozen".into();
                value["cardId"] = card.into();
            })
        };
        assert!(frozen("card_7").ends_with("See also: tapgate cards activate card_7\n"));
        assert!(frozen("$(reboot)").ends_with("See also: tapgate cards activate CARD_ID\n"));
    }

    #[test]
    fn marks_are_painted_where_colours_are_wanted() {
        let decision = serde_json::from_str(include_str!("golden/limit.json")).unwrap();
        let shown = view(&decision, Screen::coloured());
        for painted in ["\u{1b}[32m✓\u{1b}[0m program", "\u{1b}[1;31m✗ limit_exceeded", "\u{1b}[2m· pool_exhausted"]
        {
            assert!(shown.contains(painted), "{painted:?} in {shown:?}");
        }
    }
}
