"""Things that are stored once are named by what they are."""

from metering.dimension import Dimension, dimension_of
from metering.interned import Interned
from metering.terms import terms_of
from support.attempts import KRW, USD, attempt


def test_usage_counts_under_the_model_that_served_it() -> None:
    assert dimension_of(attempt(requested_model="auto", served_model="gpt-4o")).model == "gpt-4o"


def test_currencies_never_meet_in_one_dimension() -> None:
    assert dimension_of(attempt(billing=USD)).id != dimension_of(attempt(billing=KRW)).id


def test_equal_things_have_one_id_and_a_missing_part_is_not_an_empty_one() -> None:
    one = dimension_of(attempt(feature=None))
    assert one.id == dimension_of(attempt(feature=None)).id
    assert one.id != one._replace(feature="").id != one._replace(feature="None").id


def test_a_charge_is_owed_by_the_org_to_the_provider() -> None:
    terms = terms_of(attempt())
    assert (terms.debit_account, terms.credit_account) == ("org:acme", "provider:openai")


def test_another_rate_makes_other_terms() -> None:
    dearer = USD.model_copy(update={"fx_rate": USD.fx_rate * 2})
    assert terms_of(attempt()).id != terms_of(attempt(billing=dearer)).id


def test_a_thing_is_offered_for_storing_until_it_is_known_to_be_stored() -> None:
    interned: Interned[Dimension] = Interned()
    one = dimension_of(attempt())
    lookup = interned.lookup()
    assert (lookup.id(one), lookup.id(one), lookup.new) == (one.id, one.id, {one: one.id})
    interned.note_stored(lookup.new)
    again = interned.lookup()
    assert (again.id(one), again.new) == (one.id, {})
