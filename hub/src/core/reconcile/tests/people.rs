//! Who chooses, and when a second person must agree.

use super::*;

fn name(text: &str) -> ActorName {
    ActorName::new(text).unwrap()
}

impl Desk {
    fn wants(&mut self, who: &str, choice: Choice, severity: Option<Severity>) -> Result<Took, ChoiceError> {
        let policy = ReconPolicy { two_people_above_minor: 4_999, ..ReconPolicy::default() };
        choosing::choose(&mut self.item, choice, name(who), "asked them".into(), severity, &policy, self.now)
    }
}

fn cancelled_after_departure() -> Desk {
    let mut desk = Desk::left(10);
    desk.erp_cancels();
    desk.erp_answers();
    desk
}

#[test]
fn a_choice_about_much_is_proposed_and_follows_only_once_another_person_confirms_it() {
    let mut desk = cancelled_after_departure();
    assert_eq!(desk.item.value_minor, 5_000);
    assert_eq!(desk.wants("fiona", Choice::Accept, None), Ok(Took::Proposed));
    desk.erp_answers();
    assert_eq!((desk.posted(), desk.ended()), (vec!["goods_issue 10".to_owned()], (Some(3), None)));
    assert_eq!(
        choosing::confirm(&mut desk.item, &name("fiona"), desk.now),
        Err(ChoiceError::SamePerson(name("fiona")))
    );
    let again = desk.wants("gus", Choice::Return, None);
    assert!(matches!(again, Err(ChoiceError::Waits(_))), "{again:?}");
    assert_eq!(choosing::confirm(&mut desk.item, &name("gus"), desk.now), Ok(Took::Chosen));
    desk.erp_answers();
    assert_eq!(desk.ended(), (Some(3), Some("accepted_variance")));
    assert_eq!(desk.item.outcome.as_ref().and_then(Outcome::approver), Some("fiona and gus"));
}

#[test]
fn a_choice_about_little_needs_one_person_and_two_where_its_case_is_of_the_worst_severity() {
    let mut desk = Desk::left(9);
    desk.erp_cancels();
    desk.erp_answers();
    let before = desk.item.clone();
    assert_eq!(desk.wants("fiona", Choice::Accept, Some(Severity::S2)), Ok(Took::Chosen));
    desk.item = before;
    assert_eq!(desk.wants("fiona", Choice::Accept, Some(Severity::S1)), Ok(Took::Proposed));
}

#[test]
fn what_is_refused_is_gone_and_can_be_chosen_anew() {
    let mut desk = cancelled_after_departure();
    assert_eq!(choosing::refuse(&mut desk.item), Err(ChoiceError::NothingProposed));
    desk.wants("fiona", Choice::Accept, None).unwrap();
    assert_eq!(choosing::refuse(&mut desk.item), Ok(Took::Refused));
    assert_eq!(desk.wants("gus", Choice::Return, None), Ok(Took::Proposed));
    choosing::confirm(&mut desk.item, &name("fiona"), desk.now).unwrap();
    desk.erp_answers();
    assert_eq!(desk.posted(), ["goods_issue 10", "return 10"]);
    assert_eq!(choosing::refuse(&mut desk.item), Err(ChoiceError::Settled("compensated")));
}

#[test]
fn a_proposal_for_one_difference_is_void_once_a_graver_one_is_known() {
    let mut desk = Desk::left(10);
    desk.erp_orders(2);
    desk.erp_answers();
    assert_eq!(desk.item.value_minor, 4_000, "only the surplus is at stake");
    assert_eq!(desk.wants("fiona", Choice::Accept, Some(Severity::S1)), Ok(Took::Proposed));
    desk.erp_cancels();
    desk.erp_answers();
    assert_eq!((desk.item.row, desk.item.proposed.clone()), (Some(3), None));
    assert_eq!(choosing::confirm(&mut desk.item, &name("gus"), desk.now), Err(ChoiceError::NothingProposed));
}
