"""Rules as text: every form is read, comes back the same, and a typo is told in one line."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_babyai.errors import RuleError
from pytest_babyai.gate import METRICS, Rule, check_rules, parse_rule, parse_rules

names = st.text("abcXYZ019_.-", min_size=1, max_size=12)
tasks = st.none() | st.just("*") | names
levels = st.integers(5000, 9999).map(lambda number: round(number / 10_000, 12))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    metric = draw(st.sampled_from(sorted(METRICS)))
    relative = draw(st.booleans())
    definition = METRICS[metric]
    in_percent = relative and not definition.is_share and draw(st.booleans())
    low = -1.0 if relative else 0.0
    is_narrow = definition.high == 1 or in_percent
    limits = (low, 1.0) if is_narrow else (low, 1e9)
    bound = draw(st.floats(*limits, exclude_min=relative, exclude_max=relative))
    rule = Rule(metric, relative, bound, in_percent, draw(levels))
    proof = draw(st.booleans()) and not rule.is_absolute_end
    variant = draw(st.just("*") | names)
    return dataclasses.replace(rule, variant=variant, task=draw(tasks), demands_proof=proof)


@given(rules())
def test_the_text_of_a_rule_is_read_as_the_same_rule(rule: Rule) -> None:
    assert parse_rule(str(rule)) == rule


@given(st.text(max_size=40))
def test_any_text_is_a_rule_or_refused_in_one_line(text: str) -> None:
    try:
        rule = parse_rule(text)
    except RuleError as error:
        assert "\n" not in str(error)  # noqa: PT017 -- both ends are right
    else:
        assert parse_rule(str(rule)) == rule


@given(st.text("success>=<0.85@95%:/*+- histogr", max_size=30))
def test_text_of_the_alphabet_of_rules_is_a_rule_or_refused(text: str) -> None:
    try:
        rule = parse_rule(text)
    except RuleError:
        return
    assert parse_rule(str(rule)) == rule


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("success>=0.8", Rule("success", False, 0.8)),
        ("progression<-0.05@95%", Rule("progression", True, -0.05)),
        ("steps > +10 % @ 90 %", Rule("steps", True, 10.0, in_percent=True, level=0.9)),
        ("history:steps<=40", Rule("steps", False, 40.0, variant="history")),
        ("history/goto:cost<=.01", Rule("cost", False, 0.01, variant="history", task="goto")),
        ("*/goto:errors<=5%", Rule("errors", False, 0.05, task="goto")),
        ("*/*:return>=0.5", Rule("return", False, 0.5, task="*")),
        ("success>=0.8!", Rule("success", False, 0.8, demands_proof=True)),
        ("success<-0.05@90% !", Rule("success", True, -0.05, level=0.9, demands_proof=True)),
        ("a:steps>+10%!", Rule("steps", True, 10.0, True, variant="a", demands_proof=True)),
        ("efficiency>=0.5", Rule("efficiency", False, 0.5)),
        ("success<+0.05@99.5%", Rule("success", True, 0.05, level=0.995)),
        ("success<0", Rule("success", True, 0.0)),
    ],
)
def test_every_form_is_read(text: str, rule: Rule) -> None:
    assert parse_rule(text) == rule


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("succes>=1", "unknown metric 'succes'; did you mean 'success'?"),
        ("", "it names no metric; choose from success, progression"),
        ("success", "no comparison after 'success'; write 'success>=0.8' or 'success<-0.05'"),
        ("success=0.8", "'=' is no comparison of rules"),
        ("success>=", "expected a number after '>=', found nothing"),
        ("success>=high", "expected a number after '>=', found 'high'"),
        ("success>=nan", "expected a number after '>=', found 'nan'"),
        ("success<0.8", "'<0.8' has no sign: a change has one, a limit has an '='"),
        ("success<=0.8", "'<=' would ask for a bad run: more 'success' is better"),
        ("steps>=40", "less 'steps' is better; write 'steps<=40'"),
        ("steps<-10%", "'<' would fail an improvement: less 'steps' is better"),
        ("success>=80", "'success' lies between 0 and 1, found '80'"),
        ("success<-5%", "for points write '-0.05'"),
        ("errors>+5%", "for points write '+0.05'"),
        ("success<-2", "a change of 'success' lies between -1 and 1, found '-2'"),
        ("steps<=40%", "'steps' is no share, so '40%' is a percentage of nothing"),
        ("steps<=-1", "'steps' is never negative"),
        ("steps>-100%", "nothing falls by '-100%' or more"),
        ("steps<=1e999", "'1e999' is too large"),
        ("success>=0.8@95", "expected a level such as '@95%', found '@95'"),
        ("success>=0.8@5%", "a level lies from 50% to below 100%, found '@5%'"),
        ("success>=0.8@100%", "a level lies from 50% to below 100%, found '@100%'"),
        (":success>=0.8", "the scope '' is incomplete; write 'history:'"),
        ("history/:success>=0.8", "the scope 'history/' is incomplete"),
        ("*/*/x:success>=0.8", "the scope '*/*/x' has more than variant and task; write 'hist"),
        ("*/*/x:", "the scope '*/*/x' has more than variant and task"),
        ("success≥0.8", "'≥' is written '>='; write 'success>=0.8'"),
        ("steps≤40", "'≤' is written '<='; write 'steps<=40'"),
        ("success>!0.8", "the '!' of a rule that demands proof is its end; write 'success>=0.8!'"),
        ("success>=!0.8", "write 'success>=0.8!'"),
        ("success>=1!", "no number of episodes proves >=1; write a bound that can be proven"),
        ("errors<=0!", "no number of episodes proves <=0"),
        ("return>=-0.5", "'return' lies between 0 and 1, found '-0.5'"),
        ("history/success>=0.8", "a scope ends in a colon; write 'history:'"),
        ("history success>=0.8", "a scope ends in a colon; write 'history:'"),
    ],
)
def test_a_typo_is_named_with_what_would_be_right(text: str, problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(text)

    assert str(caught.value).startswith(f"rule {text!r}: ")
    assert problem in str(caught.value)


def test_several_rules_are_separated_by_commas_semicolons_and_lines() -> None:
    texts = [str(rule) for rule in parse_rules("success>=0.8, steps<=40;\nerrors<=0\n")]
    assert texts == ["success>=0.8", "steps<=40", "errors<=0"]


def test_rules_are_read_from_a_list() -> None:
    assert parse_rules(["success>=0.8", "steps<=40"]) == parse_rules("success>=0.8,steps<=40")


def test_a_repeated_rule_counts_once() -> None:
    assert len(parse_rules("success>=0.8, success >= 0.80")) == 1


@pytest.mark.parametrize("value", [3, None, {"success": 0.8}, [0.8]])
def test_other_types_are_no_rules(value: object) -> None:
    with pytest.raises(RuleError, match=r"^babyai.yml: fail: .* is not a rule; write for example"):
        parse_rules(value, "babyai.yml: fail")


@pytest.mark.parametrize("value", ["", " , ", []])
def test_no_rule_at_all_is_refused(value: object) -> None:
    with pytest.raises(RuleError, match=r"^--babyai-fail: there is no rule"):
        parse_rules(value, "--babyai-fail")


def test_the_place_stands_before_a_typo() -> None:
    with pytest.raises(RuleError, match=r"^--babyai-fail: rule 'succes>=1': unknown metric"):
        parse_rules("succes>=1", "--babyai-fail")


def check(
    text: str, *, has_reference: bool = True, variants: tuple[str, ...] = ("history",)
) -> None:
    check_rules(
        parse_rules(text),
        variants=variants,
        tasks=("goto", "open"),
        has_reference=has_reference,
        place="--babyai-fail",
    )


def test_a_scope_of_an_unknown_variant_is_refused() -> None:
    with pytest.raises(RuleError, match=r"unknown variant 'histroy'; did you mean 'history'\?"):
        check("histroy:success>=0.8")


def test_a_scope_of_an_unknown_task_is_refused() -> None:
    with pytest.raises(RuleError, match=r"unknown task 'gotto'; did you mean 'goto'\?"):
        check("*/gotto:success>=0.8")


def test_a_change_without_a_reference_is_refused() -> None:
    with pytest.raises(RuleError, match=r"^--babyai-fail: rule .* a baseline \(--babyai-com"):
        check("success<-0.05", has_reference=False)


def test_variants_of_a_remote_gateway_are_taken_on_trust() -> None:
    check("anything:success>=0.8", variants=())


def test_rules_that_judge_something_are_let_through() -> None:
    check("history/goto:success<-0.05, */*:steps<=40")


@pytest.mark.parametrize("text", ["a,b:success>=.8", "a, b:success>=.8"])
def test_a_scope_of_two_variants_is_written_as_two_rules(text: str) -> None:
    with pytest.raises(RuleError, match=r"one variant; write 'a:success>=.8, b:success>=.8'$"):
        parse_rules(text)
