from pathlib import Path
from typing import Any

import pytest
import yaml

from mesh.access.rules import PUBLIC, Caller, ClientType, MethodRule
from mesh.config import ConfigError
from policy.sources import restrictions as restrictions_module
from policy.sources.restrictions import Restrictions, compile_restrictions, read_restrictions

PARTNER, MASTER, OPERATOR = ClientType.PARTNER, ClientType.MASTER, ClientType.OPERATOR
RULES = {
    "/a.Pay/Pay": MethodRule(frozenset({PARTNER, MASTER}), frozenset({"pay"})),
    "/a.Pay/Audit": MethodRule(frozenset({OPERATOR})),
    "/a.Look/Look": PUBLIC,
}
DOORS = {"public": frozenset({PARTNER, MASTER}), "staff": frozenset({OPERATOR, PARTNER})}
SHOP = Caller("client-1", PARTNER, "shops", "ptn_1", frozenset({"pay"}))
PLATFORM = Caller("client-2", MASTER, "shops", "", frozenset({"pay"}))
MORE = Caller("client-3", PARTNER, "others", "ptn_3", frozenset({"pay", "more"}))


def entry(**fields: Any) -> dict[str, Any]:
    return {"name": "r", "methods": ["/a.Pay/Pay"], **fields}


def compiled(tmp_path: Path, *entries: dict[str, Any]) -> Restrictions:
    file = tmp_path / "restrictions.yaml"
    file.write_text(yaml.safe_dump({"restrictions": list(entries)}))
    return compile_restrictions(file, read_restrictions(file), RULES, DOORS)


def refusing(
    restrictions: Restrictions, caller: Caller | None, method: str = "/a.Pay/Pay", door: str = "public"
) -> list[str]:
    found = restrictions[door].get(method)
    return list(found.enforced.refusing(caller)) if found else []


@pytest.mark.parametrize(
    ("narrows", "refused", "passes"),
    [
        ({"closed": True}, [SHOP, PLATFORM], []),
        ({"client_types": ["MASTER"]}, [SHOP], [PLATFORM]),
        ({"scopes": ["more"]}, [SHOP], [MORE]),
        ({"deny": {"client_ids": ["client-1", "x"]}}, [SHOP], [PLATFORM]),
        ({"deny": {"partner_ids": ["ptn_1"]}}, [SHOP], [PLATFORM]),
        ({"deny": {"platform_ids": ["shops"]}}, [SHOP, PLATFORM], [MORE]),
        ({"client_types": ["MASTER"], "deny": {"client_ids": ["client-2"]}}, [SHOP, PLATFORM], []),
    ],
)
def test_who_does_not_satisfy_all_that_a_restriction_says_is_refused(
    tmp_path: Path, narrows: dict[str, Any], refused: list[Caller], passes: list[Caller]
) -> None:
    restrictions = compiled(tmp_path, entry(**narrows))
    assert [refusing(restrictions, each) for each in refused] == [["r"]] * len(refused)
    assert [refusing(restrictions, each) for each in passes] == [[]] * len(passes)


def test_a_restriction_is_for_its_methods_and_listeners_and_for_no_other(tmp_path: Path) -> None:
    restrictions = compiled(tmp_path, entry(client_types=["MASTER"], listeners=["public"]))
    assert refusing(restrictions, SHOP) == ["r"]
    assert refusing(restrictions, SHOP, door="staff") == []
    assert refusing(restrictions, SHOP, "/a.Pay/Audit") == []


def test_a_service_with_a_star_is_all_of_its_methods_that_have_a_rule(tmp_path: Path) -> None:
    restrictions = compiled(tmp_path, entry(methods=["/a.Pay/*"], closed=True))
    assert {door: set(methods) for door, methods in restrictions.items()} == {
        "public": {"/a.Pay/Pay"},
        "staff": {"/a.Pay/Pay", "/a.Pay/Audit"},
    }


def test_a_public_method_can_be_closed(tmp_path: Path) -> None:
    assert refusing(compiled(tmp_path, entry(methods=["/a.Look/*"], closed=True)), None, "/a.Look/Look") == ["r"]
    assert refusing(compiled(tmp_path, entry(closed=True)), None, "/a.Look/Look") == []


def test_all_restrictions_for_a_call_have_to_be_satisfied_and_those_that_are_not_are_named(tmp_path: Path) -> None:
    restrictions = compiled(
        tmp_path,
        entry(name="a", scopes=["more"]),
        entry(name="b", methods=["/a.Pay/*"], deny={"platform_ids": ["shops"]}),
        entry(name="c", deny={"client_ids": ["client-2"]}),
    )
    assert refusing(restrictions, SHOP) == ["b", "a"]
    assert refusing(restrictions, MORE) == []
    assert refusing(restrictions, PLATFORM) == ["c", "b", "a"]


def test_of_many_restrictions_that_refuse_for_one_cause_the_first_are_named(tmp_path: Path) -> None:
    restrictions = compiled(tmp_path, *(entry(name=f"r{number}", closed=True) for number in range(100)))
    assert refusing(restrictions, SHOP) == [f"r{number}" for number in range(8)]


def test_a_restriction_that_reports_refuses_nobody_and_names_whom_it_would(tmp_path: Path) -> None:
    restrictions = compiled(tmp_path, entry(mode="report", client_types=["MASTER"]))
    assert refusing(restrictions, SHOP) == []
    reported = restrictions["public"]["/a.Pay/Pay"].reported
    assert list(reported.refusing(SHOP)) == ["r"]
    assert list(reported.refusing(PLATFORM)) == []


def test_no_entry_restricts_nothing(tmp_path: Path) -> None:
    assert compiled(tmp_path) == {"public": {}, "staff": {}}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"methods": ["/a.Pay/Pya"], "closed": True}, "r: there is no /a.Pay/Pya behind the gateway"),
        ({"methods": ["/a.Pya/*"], "closed": True}, "r: there is no /a.Pya/* behind the gateway"),
        ({"methods": ["/*"], "closed": True}, "r: there is no /* behind the gateway"),
        ({"methods": ["a.Pay/Pay"], "closed": True}, "r: there is no a.Pay/Pay behind the gateway"),
        ({"closed": True, "listeners": ["pubic"]}, "r: there is no listener pubic"),
        ({"closed": True, "methods": ["/a.Pay/Audit"], "listeners": ["public"]}, "restricts nothing of /a.Pay/Audit"),
        ({"client_types": ["MASTER"], "listeners": ["staff"]}, "/a.Pay/Pay is not for MASTER clients here"),
        (
            {"methods": ["/a.Pay/*"], "scopes": ["pay"], "listeners": ["public", "staff"]},
            "it restricts nothing at the listener public",
        ),
        ({"client_types": ["OPERATOR"]}, "/a.Pay/Pay is not for OPERATOR clients here"),
        ({"client_types": ["WALLET"], "methods": ["/a.Pay/*"]}, "/a.Pay/* is not for WALLET clients here"),
        ({}, "it restricts nothing of /a.Pay/Pay"),
        ({"closed": False}, "it restricts nothing of /a.Pay/Pay"),
        ({"client_types": ["MASTER", "PARTNER"]}, "it restricts nothing of /a.Pay/Pay"),
        ({"scopes": ["pay"]}, "it restricts nothing of /a.Pay/Pay"),
        ({"deny": {}}, "it restricts nothing of /a.Pay/Pay"),
        ({"methods": ["/a.Pay/Audit"], "deny": {"partner_ids": ["p"]}}, "it restricts nothing of /a.Pay/Audit"),
        ({"methods": ["/a.Look/Look"], "scopes": ["pay"]}, "/a.Look/Look is public"),
        ({"methods": [], "closed": True}, "methods"),
        ({"client_types": []}, "client_types"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["two words"]}, "scopes"),
        ({"listeners": [], "closed": True}, "listeners"),
        ({"deny": {"client_ids": []}}, "client_ids"),
        ({"deny": {"partner_ids": [""]}}, "partner_ids"),
        ({"deny": {"partners": ["ptn_1"]}}, "deny"),
        ({"client_types": ["PARTENR"]}, "client_types"),
        ({"mode": "off", "closed": True}, "mode"),
        ({"close": True}, "close"),
        ({"name": "a b", "closed": True}, "name"),
        ({"name": "a\n", "closed": True}, "name"),
        ({"name": "", "closed": True}, "name"),
    ],
)
def test_an_entry_that_makes_no_sense_is_refused_and_says_where(
    tmp_path: Path, fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        compiled(tmp_path, entry(name="good", closed=True), entry(**fields))
    assert "restrictions[1]" in str(refused.value)
    assert "restrictions.yaml" in str(refused.value)
    assert says in str(refused.value)


def test_a_name_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"restrictions\[1\], r: another has the same name"):
        compiled(tmp_path, entry(closed=True), entry(scopes=["more"]))


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{}", b"[]", b"restrictions:", b"restrictions: []\nmore: 1", b"restrictions: [", b"\0", b"\xff"),
        b"restrictions: []\n#" + b"#" * 8 * 1024 * 1024,
    ],
)
def test_what_is_no_such_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "restrictions.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"restrictions\.yaml"):
        read_restrictions(file)
    file.unlink()
    with pytest.raises(ConfigError, match=r"restrictions\.yaml"):
        read_restrictions(file)


def test_what_grows_beyond_all_measure_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restrictions_module, "_MAX_CAUSES", 9)
    denied = [f"client-{number}" for number in range(5)]
    compiled(tmp_path, entry(deny={"client_ids": denied}, listeners=["public"]))
    with pytest.raises(ConfigError, match="too much: more than 9 pairs"):
        compiled(tmp_path, entry(deny={"client_ids": denied}))
